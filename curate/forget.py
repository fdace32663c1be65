"""`curate forget`: an image taken out everywhere and for good, and its addresses never fetched again.

The rows change first, in one transaction; file, caches and tasks follow. Whatever a kill leaves of those, the same
command takes away when it is run again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from curate import lookup
from curate.audit import kept as audits
from curate.crawl.guard import host_of
from curate.dedup.groups import bridge, regroup
from curate.ingest.intake import FORGOTTEN
from curate.labelling import Labelling
from curate.pages.page import discard_pages
from curate.people import examples
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.runs import discard_explained, discard_pictures
from curate.simulation import kept as rounds
from db.batches import chunks
from db.errors import DatasetError, LabelStudioError
from db.faults import fault
from db.models import (
    Candidate,
    CandidateState,
    DuplicatePair,
    Image,
    ImageState,
    Label,
    LabellingProject,
    LabellingTask,
    Layout,
    Prediction,
    Quality,
    Sighting,
    TaskState,
)
from db.models.base import now
from db.reasons import Reason
from trainer import cache, features


class Tasks(StrEnum):
    """What became of an image's tasks: it has none, none is left in Label Studio, or some wait to be deleted there.

    It waits, too, while a labelling page may show it as the example of a class.
    """

    NONE = "none"
    DELETED = "deleted"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Removed:
    """One image that is out."""

    id: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What is out, the addresses that are never fetched again, and near-duplicates that stay for people to decide."""

    removed: list[Removed]
    addresses: list[str]
    copies: list[int]
    label_studio: Tasks


@dataclass(slots=True)
class Wanted:
    """Ids of what is to be forgotten: images, and addresses that gave none."""

    images: set[int]
    candidates: set[int]


def forget(project: Project, given: str, desk: Labelling, progress: Progress = QUIET) -> ForgetReport:
    """Forget an image, what came from an address, or all that was seen on a page; an unknown address is noted.

    Running it again changes nothing. Raises DatasetError for an image that is not here, and StoreError.
    """
    found = None
    if not lookup.is_address(given):
        with project.database.read() as session:  # a file is read for its hash: no writer has to wait for that
            found = lookup.find_image(session, given).id
    # A search for duplicates that has read the images already would pair them again.
    with project.lock("dedup"), project.database.write() as session:
        wanted = _at_address(session, given) if found is None else Wanted({found}, set())
        copies = _copies(session, wanted.images)
        take_out(session, wanted)
        images = _rows(session, wanted.images)
        addresses = _addresses(session, wanted)
    for image in images:
        project.store.remove(image.sha256, image.format)
        fault("image.removed")
    cache.discard(project.private / "pixels", {image.sha256 for image in images})
    features.discard(project.private / features.FOLDER, {image.sha256 for image in images})
    rounds.discard_rounds(project.private)
    audits.discard(project.private)
    discard_pictures(project.runs, {image.sha256 for image in images})
    discard_pages(project.root)
    discard_explained(project.root)
    tasks = _withdraw(project, wanted.images, desk, progress)
    return ForgetReport([Removed(image.id, image.sha256) for image in images], addresses, copies, tasks)


def _at_address(session: Session, address: str) -> Wanted:
    candidate = lookup.candidate_at(session, address)
    if candidate is not None and (came := _ever_at(session, candidate)):
        return Wanted(came, set())
    page = select(Sighting.image_id, Candidate.id, Candidate.image_id).join(Candidate)
    seen = session.execute(page.where(Sighting.page_url == address)).all()
    images = {image_id for image_id, _, _ in seen if image_id is not None}
    waiting = {number for _, number, image_id in seen if image_id is None}
    if candidate is None and not seen:
        candidate = _note(session, address)
    return Wanted(images, waiting | ({candidate.id} if candidate is not None else set()))


def _ever_at(session: Session, candidate: Candidate) -> set[int]:
    """Images that came from an address: the present one, and those that it had before it changed."""
    seen = select(Sighting.image_id).where(Sighting.candidate_id == candidate.id)
    return {number for number in (candidate.image_id, *session.scalars(seen)) if number is not None}


def _note(session: Session, address: str) -> Candidate:
    """Write down an address that no source has shown yet."""
    host = host_of(address)
    if not host:
        raise DatasetError(f"nothing is known of {address}, and no crawl would fetch it")
    candidate = Candidate(address=address, host=host)
    session.add(candidate)
    session.flush()
    return candidate


def _copies(session: Session, ids: Collection[int]) -> list[int]:
    """Images of the same groups that stay."""
    found: set[int] = set()
    for batch in chunks(ids):
        mine = select(Image.group_id).where(Image.id.in_(batch), Image.group_id.is_not(None))
        there = Image.group_id.in_(mine) & (Image.state != ImageState.FORGOTTEN)
        found.update(session.scalars(select(Image.id).where(there)))
    return sorted(found.difference(ids))


def take_out(session: Session, wanted: Wanted) -> None:
    """Forget in the database: nothing there uses these images any more, and their addresses are closed."""
    bridge(session, wanted.images)
    for batch in chunks(wanted.images):
        session.execute(
            update(Image)
            .where(Image.id.in_(batch), Image.state != ImageState.FORGOTTEN)
            .values(state=ImageState.FORGOTTEN, state_reason=Reason.FORGOTTEN)
        )
        paired = DuplicatePair.low_id.in_(batch) | DuplicatePair.high_id.in_(batch)
        for rows in (
            delete(DuplicatePair).where(paired),
            delete(Layout).where(Layout.image_id.in_(batch)),
            delete(Quality).where(Quality.image_id.in_(batch)),
            delete(Label).where(Label.image_id.in_(batch)),
            delete(Prediction).where(Prediction.image_id.in_(batch)),
        ):
            session.execute(rows)
        _close(session, session.scalars(select(Candidate.id).where(Candidate.image_id.in_(batch))).all())
    _close(session, wanted.candidates)
    regroup(session)


def _close(session: Session, candidates: Iterable[int]) -> None:
    """Let addresses never be fetched again. A crawl that is about to decide one of them no longer owns it."""
    still_open = or_(Candidate.state != CandidateState.FAILED, Candidate.reason.is_distinct_from(Reason.FORGOTTEN))
    for batch in chunks(candidates):
        session.execute(
            update(Candidate)
            .where(Candidate.id.in_(batch), still_open)
            .values(
                state=CandidateState.FAILED,
                reason=FORGOTTEN.reason,
                http_status=None,
                detail=FORGOTTEN.detail,
                owner=None,
                lease_until=None,
                decided_at=now(),
            )
        )


def _rows(session: Session, ids: Iterable[int]) -> list[Image]:
    query = select(Image).order_by(Image.id)
    return [image for batch in chunks(sorted(ids)) for image in session.scalars(query.where(Image.id.in_(batch)))]


def _addresses(session: Session, wanted: Wanted) -> list[str]:
    found: dict[int, str] = {}
    for column, ids in ((Candidate.image_id, wanted.images), (Candidate.id, wanted.candidates)):
        for batch in chunks(ids):
            rows = session.execute(select(Candidate.id, Candidate.address).where(column.in_(batch)))
            found.update((row[0], row[1]) for row in rows)
    return [found[number] for number in sorted(found)]


def _withdraw(project: Project, images: Collection[int], desk: Labelling, progress: Progress) -> Tasks:
    drawn = _drawn(project, images, desk)
    if (drawn or _tasks(project, images) is Tasks.WAITING) and desk.reachable():
        try:
            desk.withdraw()
            drawn -= {known.id for known in desk.known()}
        except LabelStudioError as error:
            progress.say(str(error))
    return Tasks.WAITING if drawn else _tasks(project, images)


def _drawn(project: Project, images: Collection[int], desk: Labelling) -> set[int]:
    """Label Studio projects whose page may show one of these images beside a class: it is not the page of now."""
    query = select(LabellingProject).where(LabellingProject.gone_at.is_(None))
    with project.database.read() as session:
        pages = {one.id: one.config_sha256 for one in session.scalars(query)}
        if not pages or examples.forgotten(session, project.settings).isdisjoint(images):
            return set()
    present = desk.dataset().config_sha256
    return {number for number, sent in pages.items() if sent != present}


def _tasks(project: Project, images: Collection[int]) -> Tasks:
    """How the tasks of images stand, in Label Studio projects that are still there."""
    query = select(LabellingTask.state).join(LabellingProject, LabellingProject.id == LabellingTask.project_id)
    states: set[TaskState] = set()
    with project.database.read() as session:
        for batch in chunks(images):
            mine = LabellingTask.image_id.in_(batch) & LabellingProject.gone_at.is_(None)
            states.update(session.scalars(query.where(mine)))
    if not states:
        return Tasks.NONE
    return Tasks.DELETED if states == {TaskState.GONE} else Tasks.WAITING
