"""`curate dedup`: compare what is new with everything, and settle who stands for whom."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from curate.dedup import layout, layouts
from curate.dedup.compare import Limits, Verdict
from curate.dedup.groups import regroup
from curate.dedup.hamming import pairs_within
from curate.dedup.verify import Verifier
from curate.progress import QUIET, Progress
from curate.project import Project
from db.batches import chunks
from db.models import PERSON, DuplicatePair, Image, ImageState, Sighting

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a group, and the file name it first came with."""

    id: int
    sha256: str
    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are the same photograph; `keeper` is the id of the one that stands for them.

    `group` is a number that stays as long as one of its images does.
    """

    group: int
    keeper: int
    members: list[Member]


@dataclass(frozen=True, slots=True)
class DedupReport:
    """What stands after a search."""

    images: int
    proposed: int
    """Pairs that hash alike or are laid out alike, and were looked at this time."""
    groups: list[Group]


@dataclass(frozen=True, slots=True)
class _Images:
    """All images that take part, ascending by id, and which of them this method has not seen."""

    ids: Indices
    hashes: NDArray[np.uint64]
    new: NDArray[np.bool_]


def dedup(project: Project, progress: Progress = QUIET) -> DedupReport:
    """Find near-duplicates among all images. Only what came since the last search is compared, with everything.

    Raises StoreError when an image that must be looked at is gone.
    """
    settings = project.settings.dedup
    verifier = Verifier(Limits(settings.detail, settings.difference), _reader(project))
    method = f"phash{settings.distance} {layout.NAME}x{settings.neighbours} {verifier.name}"
    with project.lock("dedup"):
        images = _images(project, method)
        pairs = _hashed_alike(images, settings.distance)
        if settings.neighbours:
            layouts.measure(project, images.ids[images.new], progress)
            pairs |= layouts.neighbours(project, images.ids, images.ids[images.new], settings.neighbours, progress)
        proposals = sorted(pairs)  # neighbours share images, which are then read once
        with progress.task("looking at likely duplicates", len(proposals), "pairs") as task:
            verdicts = verifier.look(proposals, task.advance)
        with project.database.write() as session:
            _record(session, proposals, verdicts, images, method)
            _mark(session, images.ids[images.new].tolist(), method)
            regroup(session)
        with project.database.read() as session:
            return DedupReport(len(images.ids), len(proposals), groups(session))


def _images(project: Project, method: str) -> _Images:
    query = select(Image.id, Image.phash, Image.compared_with).where(Image.state != ImageState.FORGOTTEN)
    with project.database.read() as session:
        rows = session.execute(query.order_by(Image.id)).all()
    return _Images(
        ids=np.array([row[0] for row in rows], np.int64),
        hashes=np.array([row[1] for row in rows], np.int64).view(np.uint64),
        new=np.array([row[2] != method for row in rows], np.bool_),
    )


def _hashed_alike(images: _Images, distance: int) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    if images.new.any():
        for pairs in pairs_within(images.hashes, distance):
            fresh = images.new[pairs.low] | images.new[pairs.high]
            low, high = images.ids[pairs.low[fresh]], images.ids[pairs.high[fresh]]
            found.update(zip(low.tolist(), high.tolist(), strict=True))
    return found


def _reader(project: Project) -> Callable[[int], bytes]:
    """Give what reads the bytes of an image by its id."""

    def read(number: int) -> bytes:
        with project.database.read() as session:
            sha256, image_format = session.execute(select(Image.sha256, Image.format).where(Image.id == number)).one()
        return project.store.read(sha256, image_format)

    return read


def _record(
    session: Session, pairs: Sequence[tuple[int, int]], verdicts: Sequence[Verdict], images: _Images, method: str
) -> None:
    # What another method found does not hold under this one; what a person said always does.
    session.execute(delete(DuplicatePair).where(DuplicatePair.verifier.not_in([method, PERSON])))
    by_person = select(DuplicatePair.low_id, DuplicatePair.high_id).where(DuplicatePair.verifier == PERSON)
    settled = {(low, high) for low, high in session.execute(by_person)}
    for (low, high), verdict in zip(pairs, verdicts, strict=True):
        if (verdict.same or verdict.near) and (low, high) not in settled:
            a, b = np.searchsorted(images.ids, [low, high])
            found = DuplicatePair(low_id=low, high_id=high, score=verdict.score, reason=verdict.reason)
            found.distance = int(images.hashes[a] ^ images.hashes[b]).bit_count()
            found.same, found.verifier = verdict.same, method
            found.marked_id = (None, low, high)[verdict.marked]
            session.merge(found)
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
    return [Group(group_id, keepers[group_id], found) for group_id, found in members.items()]
