"""Where images lie: by what the best run saw in them as it answered, or, before there is one, by what dedup saw.

Neither is computed here: what is not there is not asked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.project import Project
from db.models import Image, ImageState, Layout, Run
from trainer import features

Points = NDArray[np.float32]

_MOST_DIRECTIONS = 512
"""Features beyond so many are brought down to their principal components: 50,000 images then take 100 MB."""
_SAMPLE = 10_000
"""Images that the components are found by."""
_BLOCK = 4096


@dataclass(frozen=True)
class Embedded:
    """Points of some images, by their hashes: (N, D), every column with mean 0 and spread 1."""

    rows: dict[str, int] = field(default_factory=dict)
    points: Points = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self.rows

    def of(self, hashes: Sequence[str]) -> Points:
        """Points of these images, in their order; of what is not there the middle of all."""
        found = np.zeros((len(hashes), self.points.shape[1]), np.float32)
        there = [place for place, sha256 in enumerate(hashes) if sha256 in self.rows]
        found[there] = self.points[[self.rows[hashes[place]] for place in there]]
        return found


def shelf(run: Run) -> str:
    """Name that features of a run are kept under: its own, and that of its weights."""
    return f"{run.name}-{(run.weights_sha256 or '')[:12]}"


def kept(project: Project, run: Run) -> set[str]:
    """Hashes of the images that features of a run are kept of."""
    return set(features.of_run(project.private / features.FOLDER, shelf(run))[0])


def of_run(project: Project, run: Run) -> Embedded:
    """What a run saw in the images that it answered for."""
    hashes, found = features.of_run(project.private / features.FOLDER, shelf(run))
    return _embedded(hashes, found)


def of_search(session: Session) -> Embedded:
    """What the descriptor of `curate dedup`, a pretrained network, saw in keepers; nothing where it has none."""
    from curate.dedup.layout import NAME, PARTS  # noqa: PLC0415 - OpenCV, only before the first run

    described = Layout.method.startswith(f"{NAME} ", autoescape=True)
    query = select(Layout.method, func.count()).where(described).group_by(Layout.method)
    methods = Counter({row[0]: row[1] for row in session.execute(query)})
    if not methods:
        return Embedded()
    method = max(sorted(methods), key=lambda name: methods[name])
    rows = session.execute(
        select(Image.sha256, Layout.vector)
        .join(Layout, Layout.image_id == Image.id)
        .where(Layout.method == method, Image.is_keeper, Image.state == ImageState.STORED)
        .order_by(Image.sha256)
    ).all()
    start = sum(PARTS)
    vectors = np.frombuffer(b"".join(vector[start:] for _, vector in rows), np.int8).reshape(len(rows), -1)
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    return _embedded([sha256 for sha256, _ in rows], vectors / np.maximum(lengths, 1e-6))


def _embedded(hashes: Sequence[str], found: NDArray[np.floating]) -> Embedded:
    rows = {sha256: row for row, sha256 in enumerate(hashes)}  # of an image that stands twice, the later
    return Embedded(rows, _scaled(found)) if rows else Embedded()


def _scaled(found: NDArray[np.floating]) -> Points:
    """Bring every column to mean 0 and spread 1, and many columns to fewer."""
    mean = found.mean(0, dtype=np.float64).astype(np.float32)
    spread = found.std(0, dtype=np.float64).astype(np.float32)
    spread[spread == 0] = 1
    directions = _directions(found, mean, spread)
    points = np.empty((len(found), found.shape[1] if directions is None else directions.shape[1]), np.float32)
    for start in range(0, len(found), _BLOCK):
        block = (found[start : start + _BLOCK].astype(np.float32) - mean) / spread
        points[start : start + _BLOCK] = block if directions is None else block @ directions
    return points


def _directions(found: NDArray[np.floating], mean: Points, spread: Points) -> Points | None:
    """Principal components that keep most of the distances between images, (D, 512); None where there are few."""
    if found.shape[1] <= _MOST_DIRECTIONS:
        return None
    sample = (found[:: max(1, len(found) // _SAMPLE)].astype(np.float32) - mean) / spread
    _, vectors = np.linalg.eigh(sample.T @ sample / len(sample))
    return np.ascontiguousarray(vectors[:, : -_MOST_DIRECTIONS - 1 : -1], dtype=np.float32)
