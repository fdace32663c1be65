"""`curate dedup`: compare what is new with everything, and settle who stands for whom."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from curate.dedup.groups import regroup
from curate.dedup.hamming import pairs_within
from curate.dedup.verify import ThumbnailVerifier, Verifier
from curate.progress import QUIET, Progress
from curate.project import Project
from db.batches import chunks
from db.models import DuplicatePair, Image, ImageState, Sighting

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a group, and the file name it first came with."""

    id: int
    sha256: str
    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are the same photograph; `keeper` is the id of the one that stands for them."""

    keeper: int
    members: list[Member]


@dataclass(frozen=True, slots=True)
class DedupReport:
    """What stands after a search."""

    images: int
    proposed: int
    """Pairs that hashed alike and were looked at this time."""
    groups: list[Group]


@dataclass(frozen=True, slots=True)
class _Proposals:
    """Pairs of image ids, low < high, to be looked at."""

    low: Indices
    high: Indices
    distance: NDArray[np.uint8]


def dedup(project: Project, progress: Progress = QUIET) -> DedupReport:
    """Find near-duplicates among all images. Only what came since the last search is compared.

    Raises StoreError when an image that must be looked at is gone.
    """
    settings = project.settings.dedup
    verifier = ThumbnailVerifier(settings.difference)
    method = f"phash{settings.distance} {verifier.name}"
    with project.lock("dedup"):
        ids, hashes, new = _images(project, method)
        proposals = _propose(ids, hashes, new, settings.distance)
        with progress.task("looking at likely duplicates", len(proposals.low), "pairs") as task:
            scores = verifier.look(proposals.low, proposals.high, _reader(project, proposals), task.advance)
        with project.database.write() as session:
            _record(session, proposals, scores, verifier, method)
            _mark(session, ids[new].tolist(), method)
            regroup(session)
        with project.database.read() as session:
            return DedupReport(len(ids), len(proposals.low), groups(session))


def _images(project: Project, method: str) -> tuple[Indices, NDArray[np.uint64], NDArray[np.bool_]]:
    """Ids and hashes of all images that take part, and which of them this method has not seen."""
    query = select(Image.id, Image.phash, Image.compared_with).where(Image.state != ImageState.FORGOTTEN)
    with project.database.read() as session:
        rows = session.execute(query.order_by(Image.id)).all()
    ids = np.array([row[0] for row in rows], np.int64)
    hashes = np.array([row[1] for row in rows], np.int64).view(np.uint64)
    return ids, hashes, np.array([row[2] != method for row in rows], np.bool_)


def _propose(ids: Indices, hashes: NDArray[np.uint64], new: NDArray[np.bool_], distance: int) -> _Proposals:
    low: list[Indices] = [np.empty(0, np.int64)]
    high: list[Indices] = [np.empty(0, np.int64)]
    bits: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    if new.any():
        for pairs in pairs_within(hashes, distance):
            fresh = new[pairs.low] | new[pairs.high]
            low.append(ids[pairs.low[fresh]])
            high.append(ids[pairs.high[fresh]])
            bits.append(pairs.distance[fresh])
    order = np.argsort(np.concatenate(low), kind="stable")  # neighbours share images, which are then read once
    return _Proposals(np.concatenate(low)[order], np.concatenate(high)[order], np.concatenate(bits)[order])


def _reader(project: Project, proposals: _Proposals) -> Callable[[int], bytes]:
    """Give what reads the bytes of an image by its id, for all ids that are proposed."""
    needed = np.union1d(proposals.low, proposals.high).tolist()
    files: dict[int, tuple[str, str]] = {}
    with project.database.read() as session:
        for batch in chunks(needed):
            rows = session.execute(select(Image.id, Image.sha256, Image.format).where(Image.id.in_(batch)))
            files.update({number: (sha256, image_format) for number, sha256, image_format in rows})
    return lambda number: project.store.read(*files[number])


def _record(
    session: Session, proposals: _Proposals, scores: NDArray[np.float32], verifier: Verifier, method: str
) -> None:
    # What another method found does not hold under this one.
    session.execute(delete(DuplicatePair).where(DuplicatePair.verifier != method))
    for index in np.flatnonzero(verifier.holds(scores)).tolist():
        low, high = int(proposals.low[index]), int(proposals.high[index])
        distance, score = int(proposals.distance[index]), float(scores[index])
        session.merge(DuplicatePair(low_id=low, high_id=high, distance=distance, score=score, verifier=method))
    session.flush()


def _mark(session: Session, ids: Iterable[int], method: str) -> None:
    for batch in chunks(ids):
        session.execute(update(Image).where(Image.id.in_(batch)).values(compared_with=method))


def groups(session: Session) -> list[Group]:
    """All duplicate groups as they stand, with the file name each image first came with."""
    first = (
        select(Sighting.image_id, func.min(Sighting.id).label("id"))
        .join(Image, Image.id == Sighting.image_id)
        .where(Image.group_id.is_not(None))
        .group_by(Sighting.image_id)
        .subquery()
    )
    query = (
        select(Image.group_id, Image.id, Image.sha256, Image.is_keeper, Sighting.name)
        .outerjoin(first, first.c.image_id == Image.id)
        .outerjoin(Sighting, Sighting.id == first.c.id)
        .where(Image.group_id.is_not(None))
        .order_by(Image.group_id, Image.id)
    )
    members: dict[int, list[Member]] = {}
    keepers: dict[int, int] = {}
    for group_id, number, sha256, is_keeper, name in session.execute(query):
        assert group_id is not None  # noqa: S101 - the query says so; this is for the type checker
        members.setdefault(group_id, []).append(Member(number, sha256, name or ""))
        if is_keeper:
            keepers[group_id] = number
    return [Group(keepers[group_id], found) for group_id, found in members.items()]
