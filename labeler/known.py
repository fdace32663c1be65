"""Answers that we know of: how many, which of them the server no longer has, and whose names it has given anew."""

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.labels import Answer, record
from db.models import Annotation, AnnotationState, LabellingProject, LabellingTask, TaskState
from labeler.dataset import Dataset
from labeler.stock import Stock


def tombstone(annotation: Annotation) -> Answer:
    """What is on record of an answer once the server no longer has it."""
    return Answer(
        key=annotation.key,
        origin=annotation.origin,
        image_id=annotation.image_id,
        task_id=annotation.task_id,
        state=AnnotationState.DELETED,
        class_id=annotation.class_id,
        answered_at=annotation.answered_at,
        annotator=annotation.annotator,
    )


def missing(session: Session, tasks: Iterable[LabellingTask], found: Sequence[Answer]) -> list[Answer]:
    """Give tombstones for answers of some tasks that are not among those `found` there."""
    there = {answer.key for answer in found}
    query = select(Annotation).where(
        Annotation.task_id.in_([task.id for task in tasks]), Annotation.state != AnnotationState.DELETED
    )
    return [tombstone(a) for a in session.scalars(query.order_by(Annotation.id)) if a.key not in there]


def release_keys(session: Session, found: Iterable[Answer]) -> set[str]:
    """Part answers from older ones of the same number for other images; give the keys that these had.

    A server that was put back to an earlier state gives numbers anew. What it has lost is on record as deleted.
    """
    released: set[str] = set()
    for answers in chunks(found):
        images = {answer.key: answer.image_id for answer in answers}
        for old in session.scalars(select(Annotation).where(Annotation.key.in_(images))).all():
            if old.image_id != images[old.key]:
                record(session, [tombstone(old)])
                released.add(old.key)
                old.key = f"{old.key}~{old.id}"
    session.flush()
    return released


def answers_known(session: Session, project: LabellingProject, *but: AnnotationState) -> int:
    """Count answers in a project's tasks that are there, those in some states left out."""
    query = select(func.count()).select_from(Annotation).join(LabellingTask, Annotation.task_id == LabellingTask.id)
    mine = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
    return session.scalar(query.where(mine, Annotation.state.not_in(but))) or 0


def unaccounted(dataset: Dataset, project: LabellingProject, stock: Stock) -> int:
    """How many answers, skips left out, the server counts that we do not know of; below 0, the other way round."""
    with dataset.database.read() as session:
        return stock.answers - answers_known(session, project, AnnotationState.DELETED, AnnotationState.SKIPPED)
