"""The nearest pairs across the split, looked at: evidence that nothing validated on is a copy of what is learned from.

A search of its own. `curate dedup` looks at what is near among all images, of either side; this looks, for every
validation image, at the train images nearest by each measure, of whatever class: a leak does not respect classes.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from curate.dedup import layout
from curate.dedup.compare import Limits, Verdict
from curate.dedup.layouts import Layouts
from curate.dedup.nearest import Nearest as Neighbours
from curate.dedup.verify import Verifier
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.split.freeze import latest_snapshot, refuse_forgotten
from db.batches import chunks
from db.errors import DatasetError
from db.files import write_atomically
from db.models import PERSON, DuplicatePair, Image, Layout, Side
from db.store import relative_path

_LAID_OUT_ALIKE = 2
"""Train images looked at for each validation image, by each part of their layouts; besides the nearest by pHash."""
_BLOCK = 256
"""Validation images whose hashes are compared with those of all train images at once."""
_SHOWN = 10_000
"""Layouts of train images held at once: 12 MB, and 45 MB as numbers to multiply."""

Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Pair:
    """A train and a validation image that were looked at. `score` is the share of detail that agrees, 0-1."""

    train: int
    validation: int
    train_label: str
    score: float
    same: bool
    near: bool
    """Not the same, but a person might think otherwise."""
    reason: str
    distance: int
    """Bits in which their pHashes differ, 0-64."""
    told_apart: bool
    """A person said that they, or copies of theirs, are two photographs."""

    @property
    def leak(self) -> bool:
        """The same photograph on both sides."""
        return self.same and not self.told_apart


@dataclass(frozen=True, slots=True)
class Nearest:
    """Of a class's validation images, the pair that comes nearest to a leak."""

    pair: Pair
    least_distance: int
    """The smallest pHash distance of any validation image of the class to any train image; that pair was looked at."""
    looked_at: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found. A class that holds nothing out has no entry."""

    file: Path
    classes: dict[str, Nearest]
    leaks: list[Pair]


@dataclass(frozen=True, slots=True)
class _Sides:
    """Images of the present split: what the proof reads of them, ascending by id."""

    snapshot: int
    content_sha256: str
    train: Numbers
    validation: Numbers
    labels: dict[int, str]
    hashes: dict[int, int]
    files: dict[int, tuple[str, str]]
    """SHA-256 and format."""

    def hashes_of(self, numbers: Numbers) -> Hashes:
        """The pHashes of these images."""
        return np.array([self.hashes[number] for number in numbers.tolist()], np.int64).view(np.uint64)


def prove(project: Project, progress: Progress = QUIET) -> Proof:
    """Look at the nearest pairs across the present split, and write them to `proofs/split-<snapshot>.json`.

    The same split gives the same file. Raises DatasetError without both sides, and StoreError when an image is gone.
    """
    with project.database.read() as session:
        sides = _sides(session)
    Layouts().measure(project, np.concatenate([sides.train, sides.validation]), progress)
    by_hash = _nearest_by_hash(sides)
    proposals = sorted({(min(one), max(one)) for one in by_hash} | _laid_out_alike(project, sides))
    settings = project.settings.dedup
    verifier = Verifier(Limits(settings.likeness, settings.difference), _reader(project, sides))
    with progress.task("looking at pairs across the split", len(proposals), "pairs") as task:
        verdicts = verifier.look(proposals, task.advance)
    with project.database.read() as session:
        pairs = _pairs(proposals, verdicts, sides, _apart(session, sides))
    file = project.root / "proofs" / f"split-{sides.snapshot}.json"
    found = Proof(file, _nearest(pairs, by_hash, sides), [pair for pair in pairs if pair.leak])
    write_atomically(file, _text(found, sides, verifier.name).encode())
    return found


def _sides(session: Session) -> _Sides:
    snapshot = latest_snapshot(session)
    if snapshot is None:
        raise DatasetError("there is no split to prove yet; make one with `curate split`")
    refuse_forgotten(session, snapshot.id)
    of_side = {side: sorted(item.image_id for item in snapshot.items if item.side is side) for side in Side}
    if not all(of_side.values()):
        raise DatasetError("a split with only one side has nothing to prove; label at least two of some class")
    labels = {item.image_id: snapshot.classes[item.class_index] for item in snapshot.items}
    hashes: dict[int, int] = {}
    files: dict[int, tuple[str, str]] = {}
    for batch in chunks(labels):
        query = select(Image.id, Image.phash, Image.sha256, Image.format).where(Image.id.in_(batch))
        for number, phash, sha256, image_format in session.execute(query):
            hashes[number], files[number] = phash, (sha256, image_format)
    train, validation = (np.array(of_side[side], np.int64) for side in (Side.TRAIN, Side.VALIDATION))
    return _Sides(snapshot.id, snapshot.content_sha256, train, validation, labels, hashes, files)


def _reader(project: Project, sides: _Sides) -> Callable[[int], bytes]:
    return lambda number: project.store.read(*sides.files[number])


def _nearest_by_hash(sides: _Sides) -> dict[tuple[int, int], int]:
    """The train image nearest to each validation image, and the bits between them, by (train, validation)."""
    train, validation = sides.hashes_of(sides.train), sides.hashes_of(sides.validation)
    found: dict[tuple[int, int], int] = {}
    for start in range(0, len(validation), _BLOCK):
        bits = np.bitwise_count(validation[start : start + _BLOCK, None] ^ train[None])
        for row, best in enumerate(bits.argmin(axis=1).tolist()):
            found[int(sides.train[best]), int(sides.validation[start + row])] = int(bits[row, best])
    return found


def _laid_out_alike(project: Project, sides: _Sides) -> set[tuple[int, int]]:
    """Pairs of ids, smaller first. Not `Layouts.neighbours`: that notes what the search for duplicates has seen."""
    neighbours = Neighbours(*_vectors(project, sides.validation), layout.PARTS, _LAID_OUT_ALIKE)
    for start in range(0, len(sides.train), _SHOWN):
        ids, vectors = _vectors(project, sides.train[start : start + _SHOWN])
        neighbours.show(ids, vectors, np.full((len(ids), len(layout.PARTS)), np.inf, np.float32))
    return {(low, high) for low, high in neighbours.pairs().tolist()}


def _vectors(project: Project, numbers: Numbers) -> tuple[Numbers, layout.Vector]:
    """The ids of these images and their layouts, shape (n, sum(PARTS)), without what a network's descriptor adds."""
    rows: list[tuple[int, bytes]] = []
    with project.database.read() as session:
        for batch in chunks(numbers.tolist()):
            query = select(Layout.image_id, Layout.vector).where(Layout.image_id.in_(batch))
            rows += [(number, vector) for number, vector in session.execute(query.order_by(Layout.image_id))]
    length = sum(layout.PARTS)
    vectors = np.frombuffer(b"".join(vector[:length] for _, vector in rows), np.int8)
    return np.array([number for number, _ in rows], np.int64), vectors.reshape(-1, length)


def _apart(session: Session, sides: _Sides) -> Callable[[int, int], bool]:
    """Ask whether a person told two images, or images of their groups, apart."""
    low, high = aliased(Image), aliased(Image)
    query = (
        select(low.id, low.group_id, high.id, high.group_id)
        .join(DuplicatePair, DuplicatePair.low_id == low.id)
        .join(high, high.id == DuplicatePair.high_id)
        .where(DuplicatePair.verifier == PERSON, DuplicatePair.same.is_(False))
    )
    # An image without a group is one of its own; ids of groups are positive.
    told = {frozenset((a_group or -a, b_group or -b)) for a, a_group, b, b_group in session.execute(query)}
    groups: dict[int, int] = {}
    for batch in chunks(sides.labels):
        found = session.execute(select(Image.id, Image.group_id).where(Image.id.in_(batch)))
        groups.update({number: group_id or -number for number, group_id in found})
    return lambda a, b: frozenset((groups[a], groups[b])) in told


def _pairs(
    proposals: Iterable[tuple[int, int]],
    verdicts: Iterable[Verdict],
    sides: _Sides,
    apart: Callable[[int, int], bool],
) -> list[Pair]:
    held_out = set(sides.validation.tolist())
    found = []
    for (low, high), verdict in zip(proposals, verdicts, strict=True):
        train, validation = (low, high) if high in held_out else (high, low)
        bits = (sides.hashes[low] ^ sides.hashes[high]) % 2**64
        score = round(verdict.score, 4)
        said = (score, verdict.same, verdict.near, verdict.reason, bits.bit_count(), apart(train, validation))
        found.append(Pair(train, validation, sides.labels[train], *said))
    return found


def _nearest(pairs: Iterable[Pair], by_hash: Mapping[tuple[int, int], int], sides: _Sides) -> dict[str, Nearest]:
    """The nearest pair of each class: a leak before all, then what a person should look at, by score and by hash."""
    mine: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        mine[sides.labels[pair.validation]].append(pair)
    least: dict[str, int] = {}
    for (_, validation), bits in by_hash.items():
        name = sides.labels[validation]
        least[name] = min(bits, least.get(name, bits))

    def rank(pair: Pair) -> tuple[bool, bool, float, int, tuple[str, str], tuple[str, str]]:
        # Hashes decide last, not ids: another database with the same images says the same.
        ties = sides.files[pair.validation], sides.files[pair.train]
        return pair.leak, pair.same or pair.near, pair.score, -pair.distance, *ties

    return {name: Nearest(max(here, key=rank), least[name], len(here)) for name, here in sorted(mine.items())}


def _text(proof: Proof, sides: _Sides, method: str) -> str:
    def told(pair: Pair) -> dict[str, Any]:
        return {
            **asdict(pair),
            "train_file": _path(sides, pair.train),
            "validation_file": _path(sides, pair.validation),
        }

    classes = {
        name: {**told(nearest.pair), "least_distance": nearest.least_distance, "looked_at": nearest.looked_at}
        for name, nearest in proof.classes.items()
    }
    leaks: Sequence[dict[str, Any]] = [told(pair) for pair in proof.leaks]
    heading = {"snapshot": sides.snapshot, "content_sha256": sides.content_sha256, "method": method}
    return json.dumps({**heading, "classes": classes, "leaks": leaks}, indent=1, ensure_ascii=False) + "\n"


def _path(sides: _Sides, number: int) -> str:
    return f"images/{relative_path(*sides.files[number])}"
