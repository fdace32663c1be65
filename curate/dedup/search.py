"""`curate dedup`: compare what is new with everything, and settle who stands for whom."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from curate.dedup.compare import Limits, Verdict
from curate.dedup.groups import regroup
from curate.dedup.hamming import pairs_within
from curate.dedup.layouts import Layouts
from curate.dedup.proposals import Proposals
from curate.dedup.standing import DedupReport, standing
from curate.dedup.verify import Verifier
from curate.progress import QUIET, Progress
from curate.project import Project
from db.batches import chunks
from db.models import PERSON, DuplicatePair, Image, ImageState
from trainer.errors import WeightsError

if TYPE_CHECKING:
    from curate.dedup.descriptor import Descriptor

_WITHOUT = "set it to none, or to a safetensors file with SqueezeNet 1.1's weights"

_BATCH = 4_000
"""New images compared between two transactions: what a stop costs, about a minute."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Images:
    """Images that are compared, ascending by id, and which of them this method has not seen."""

    ids: Indices
    hashes: NDArray[np.uint64]
    new: NDArray[np.bool_]

    def batches(self) -> "Iterator[_Images]":
        """Take the new ones some at a time, each time with all that were compared by then."""
        fresh = np.flatnonzero(self.new)
        for start in range(0, len(fresh), _BATCH):
            batch = fresh[start : start + _BATCH]
            there = ~self.new
            there[fresh[: start + _BATCH]] = True
            now = np.zeros(len(self.ids), np.bool_)
            now[batch] = True
            yield _Images(self.ids[there], self.hashes[there], now[there])


def dedup(project: Project, progress: Progress = QUIET) -> DedupReport:
    """Find near-duplicates among all images. Only what came since the last search is compared, with everything.

    Stopped and run again, it goes on with the images it had not come to. Raises StoreError when an image that must be
    looked at is gone, and ConfigError for a descriptor that does not do.
    """
    settings = project.settings.dedup
    verifier = Verifier(Limits(settings.likeness, settings.difference), _reader(project))
    layouts = Layouts(_descriptor(project, progress))
    method = f"{verifier.name} phash{settings.distance} near{settings.neighbours} {layouts.name}"
    looked_at = 0
    with project.lock("dedup"):
        for images in _images(project, method).batches():
            pairs = _proposed(project, images, layouts, progress)
            with progress.task("looking at likely duplicates", len(pairs), "pairs") as task:
                verdicts = verifier.look(pairs, task.advance)
            with project.database.write() as session:
                _mark(session, images.ids[images.new].tolist(), method)
                _drop_outdated(session, verifier.name, method)
                _record(session, pairs, verdicts, images, verifier.name)
                regroup(session)
            looked_at += len(pairs)
        with project.database.read() as session:
            return standing(session, looked_at, "none" if layouts.descriptor is None else settings.descriptor)


def _proposed(project: Project, images: _Images, layouts: Layouts, progress: Progress) -> list[tuple[int, int]]:
    """Pairs worth a look, in order: neighbours share images, which are then read once."""
    settings = project.settings.dedup
    new = images.ids[images.new]
    found = _hashed_alike(images, settings.distance)
    if settings.neighbours:
        layouts.measure(project, new, progress)
        near = layouts.neighbours(project, images.ids, new, settings.neighbours, progress, remember=True)
        found = np.unique(np.concatenate([found, near]), axis=0)
    return [(low, high) for low, high in found.tolist()]


def _descriptor(project: Project, progress: Progress) -> "Descriptor | None":
    """Load the network that proposes pairs; without its weights the search goes on, and says so."""
    named = project.settings.dedup.descriptor
    if named == "none" or not project.settings.dedup.neighbours:
        return None
    from curate.dedup.descriptor import load  # noqa: PLC0415 - torch takes seconds, which not every search needs

    try:
        return load(named if named == "imagenet" else str(project.root / named))
    except WeightsError as error:
        cause = error.__cause__ or error
        progress.say(f"no ImageNet weights for dedup.descriptor ({cause}); copies are looked for without: {_WITHOUT}")
        return None


def _images(project: Project, method: str) -> _Images:
    query = select(Image.id, Image.phash, Image.compared_with).where(Image.state != ImageState.FORGOTTEN)
    with project.database.read() as session:
        rows = session.execute(query.order_by(Image.id)).all()
    return _Images(
        ids=np.array([row[0] for row in rows], np.int64),
        hashes=np.array([row[1] for row in rows], np.int64).view(np.uint64),
        # What was compared with a descriptor, too, need not be compared anew where there is none.
        new=np.array([row[2] != method and not (row[2] or "").startswith(f"{method} ") for row in rows], np.bool_),
    )


def _hashed_alike(images: _Images, distance: int) -> Indices:
    found = Proposals()
    for pairs in pairs_within(images.hashes, distance, images.new):
        found.add(images.ids[pairs.low], images.ids[pairs.high], pairs.distance)
    return found.pairs()


def _reader(project: Project) -> Callable[[int], bytes]:
    """Give what reads the bytes of an image by its id."""

    def read(number: int) -> bytes:
        with project.database.read() as session:
            sha256, image_format = session.execute(select(Image.sha256, Image.format).where(Image.id == number)).one()
        return project.store.read(sha256, image_format)

    return read


def _drop_outdated(session: Session, verifier: str, method: str) -> None:
    """Delete what another verifier found, once both images have been compared by this method.

    Not sooner: a search that is stopped, and whose settings are then taken back, must not have cost any group.
    What a person said always holds.
    """
    longer = Image.compared_with.startswith(f"{method} ", autoescape=True)
    seen = select(Image.id).where((Image.compared_with == method) | longer)
    both = DuplicatePair.low_id.in_(seen) & DuplicatePair.high_id.in_(seen)
    session.execute(delete(DuplicatePair).where(DuplicatePair.verifier.not_in([verifier, PERSON]), both))


def _record(
    session: Session, pairs: Sequence[tuple[int, int]], verdicts: Sequence[Verdict], images: _Images, verifier: str
) -> None:
    by_person = select(DuplicatePair.low_id, DuplicatePair.high_id).where(DuplicatePair.verifier == PERSON)
    settled = {(low, high) for low, high in session.execute(by_person)}
    for (low, high), verdict in zip(pairs, verdicts, strict=True):
        if (verdict.same or verdict.near) and (low, high) not in settled:
            a, b = np.searchsorted(images.ids, [low, high])
            found = DuplicatePair(low_id=low, high_id=high, score=verdict.score, reason=verdict.reason)
            found.distance = int(images.hashes[a] ^ images.hashes[b]).bit_count()
            found.same, found.verifier = verdict.same, verifier
            found.marked_id = (None, low, high)[verdict.marked]
            session.merge(found)
    session.flush()


def _mark(session: Session, ids: Iterable[int], method: str) -> None:
    for batch in chunks(ids):
        session.execute(update(Image).where(Image.id.in_(batch)).values(compared_with=method))
