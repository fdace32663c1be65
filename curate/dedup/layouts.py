"""Layouts of all images, kept in the database: measured once an image, and searched block by block."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update

from curate.dedup import layout
from curate.dedup.layout import Vector
from curate.dedup.nearest import Indices, Likeness, Nearest
from curate.dedup.picture import Rgb, read_rgb
from curate.progress import Progress
from curate.project import Project
from db.batches import chunks
from db.models import Image
from db.models import Layout as Row

if TYPE_CHECKING:
    from curate.dedup.descriptor import Descriptor

_BLOCK = 10_000
"""Layouts compared at once: 17 MB, and 70 MB as numbers to multiply."""
_COMMITTED = 256
"""Images measured between two transactions: what a stop costs."""


@dataclass(frozen=True)
class Layouts:
    """How pictures are described, with a network's descriptor or without, and the search among them."""

    descriptor: "Descriptor | None" = None

    @property
    def name(self) -> str:
        """What tells these vectors from others. With a descriptor it begins as it does without."""
        return layout.NAME if self.descriptor is None else f"{layout.NAME} {self.descriptor.name}"

    @property
    def parts(self) -> tuple[int, ...]:
        """Bytes of each part of a vector."""
        return layout.PARTS if self.descriptor is None else (*layout.PARTS, self.descriptor.length)

    def describe(self, pictures: Sequence[Rgb], pool: ThreadPoolExecutor) -> Vector:
        """Describe pictures, shape (n, sum(parts))."""
        found = np.stack(list(pool.map(layout.layout, pictures)))
        return found if self.descriptor is None else np.hstack([found, self.descriptor.describe(pictures)])

    def measure(self, project: Project, ids: Indices, progress: Progress) -> None:
        """Store the layouts that these images lack. Raises StoreError when one is gone."""
        files = self._without(project, ids)
        if not files:
            return

        def read(file: tuple[int, str, str]) -> Rgb:
            number, sha256, image_format = file
            return read_rgb(project.store.read(sha256, image_format), f"image {number}")

        with (
            progress.task("measuring pictures", len(files), "images") as task,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            for batch in chunks(files, _COMMITTED):
                pictures = list(pool.map(read, batch))
                self._store(project, [number for number, _, _ in batch], self.describe(pictures, pool))
                task.advance(len(batch))

    def _store(self, project: Project, ids: Sequence[int], vectors: Vector) -> None:
        with project.database.write() as session:
            session.execute(delete(Row).where(Row.image_id.in_(ids)))
            session.add_all(
                Row(image_id=number, method=self.name, vector=vector.tobytes())
                for number, vector in zip(ids, vectors, strict=True)
            )

    def _without(self, project: Project, ids: Indices) -> list[tuple[int, str, str]]:
        """Id, SHA-256 and format of the images that have no such layout yet."""
        found: list[tuple[int, str, str]] = []
        # What was measured with a descriptor serves without one, too.
        has_one = (Row.image_id == Image.id) & Row.method.startswith(self.name, autoescape=True)
        query = select(Image.id, Image.sha256, Image.format).outerjoin(Row, has_one).where(Row.image_id.is_(None))
        with project.database.read() as session:
            for batch in chunks(ids.tolist()):
                found += [(a, b, c) for a, b, c in session.execute(query.where(Image.id.in_(batch)).order_by(Image.id))]
        return found

    def neighbours(
        self, project: Project, ids: Indices, new: Indices, count: int, progress: Progress, *, remember: bool = False
    ) -> Indices:
        """Pairs of ids, shape (n, 2), smaller first: each of `new` with those of `ids` that are laid out most alike.

        With `remember` what is found counts as the search for `new`. If every other of `ids` was searched for so, all
        the pairs are there that one search for all of them would give.
        """
        found: list[Indices] = [np.empty((0, 2), np.int64)]
        rounds = -(-len(new) // _BLOCK)
        with progress.task("searching what is laid out alike", rounds * len(ids), "images") as task:
            for own, own_vectors, _ in self._blocks(project, new):
                nearest = Nearest(own, own_vectors, self.parts, count)
                for numbers, vectors, reach in self._blocks(project, ids):
                    reach[np.isin(numbers, new)] = np.inf  # they ask for themselves
                    nearest.show(numbers, vectors, reach)
                    task.advance(len(numbers))
                found.append(nearest.pairs())
                if remember:
                    self._remember(project, own, nearest.reach())
        return np.unique(np.concatenate(found), axis=0)

    def _remember(self, project: Project, ids: Indices, reach: Likeness) -> None:
        with project.database.write() as session:
            rows = [{"image_id": int(n), "reach": r.tobytes()} for n, r in zip(ids, reach, strict=True)]
            session.execute(update(Row), rows)

    def _blocks(self, project: Project, ids: Indices) -> Iterator[tuple[Indices, Vector, Likeness]]:
        """Ids, vectors and reaches of some images at a time."""
        for start in range(0, len(ids), _BLOCK):
            rows: list[tuple[int, bytes, bytes | None]] = []
            with project.database.read() as session:
                for batch in chunks(ids[start : start + _BLOCK].tolist()):
                    query = select(Row.image_id, Row.vector, Row.reach).where(Row.image_id.in_(batch))
                    rows += [(a, b, c) for a, b, c in session.execute(query.order_by(Row.image_id))]
            length, parts = sum(self.parts), len(self.parts)
            vectors = np.frombuffer(b"".join(vector[:length] for _, vector, _ in rows), np.int8).reshape(-1, length)
            unknown = np.full(parts, np.inf, np.float32).tobytes()
            reach: NDArray[np.float32] = np.frombuffer(
                b"".join((reach or unknown)[: 4 * parts] for _, _, reach in rows), np.float32
            ).reshape(-1, parts)
            yield np.array([number for number, _, _ in rows], np.int64), vectors, reach.copy()
