"""What a push hands out to a Label Studio project, where a dataset has several."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.progress import QUIET, Progress
from curate.project import Project
from curate.select import Choice, choose, unlabelled_ids
from db import reviews
from db.batches import chunks
from db.models import Annotation, AnnotationState, Image, LabellingProject, LabellingTask, TaskState


class Which(StrEnum):
    """Unlabelled images that wait nowhere else; all; those skipped in another; those to be decided, labelled or not."""

    WAITING = "waiting"
    ALL = "all"
    SKIPPED = "skipped"
    ASKED = "asked"


def wanted(
    project: Project,
    desk: LabellingProject,
    others: Sequence[LabellingProject],
    limit: int | None,
    which: Which,
    progress: Progress = QUIET,
) -> list[Choice]:
    """Keepers that want a label or a decision and were never sent to `desk`, the most wanted first, at most `limit`."""
    with project.database.read() as session:
        known = set(session.scalars(select(LabellingTask.image_id).where(LabellingTask.project_id == desk.id)))
        waiting = set(unlabelled_ids(session))
        if which in {Which.WAITING, Which.ASKED}:
            known |= _waiting_at(session, others)
        elif which is Which.SKIPPED:
            known |= waiting - _skipped(session)
        if which is Which.ASKED:
            return _asked(session, waiting - known)[:limit]
    count = len(waiting) if limit is None else limit
    return choose(project, count, exclude=known, progress=progress)


def _asked(session: Session, images: Iterable[int]) -> list[Choice]:
    """Those of some images that somebody is asked to decide: all of them, whatever the queue's strategy."""
    reasons = reviews.waiting(session)
    query = select(Image).order_by(Image.id)
    some_ids = chunks(sorted(number for number in images if number in reasons))
    found = [image for ids in some_ids for image in session.scalars(query.where(Image.id.in_(ids)))]
    return [Choice(image.id, f"images/{image.relative_path}", None, reasons[image.id].value) for image in found]


def _waiting_at(session: Session, others: Sequence[LabellingProject]) -> set[int]:
    there = LabellingTask.project_id.in_([other.id for other in others]) & (LabellingTask.state != TaskState.GONE)
    return set(session.scalars(select(LabellingTask.image_id).where(there)))


def _skipped(session: Session) -> set[int]:
    return set(session.scalars(select(Annotation.image_id).where(Annotation.state == AnnotationState.SKIPPED)))
