"""How labelling stands between two trainings; what `curate loop` and `curate label watch` decide by."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from filelock import Timeout
from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from curate.labelling import Labelling
from curate.project import Project
from db.errors import DatasetError
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    Label,
    LabellingTask,
    Run,
    RunState,
    Snapshot,
    TaskState,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """Labels of a class that no finished run could learn from, and tasks that nobody has answered.

    What was accepted unseen is no reason to train: it says what a run said.
    """

    labels: int
    open_tasks: int


def standing(desk: Labelling, since: datetime = _EPOCH) -> Standing:
    """Count them; of labels, those alone that came after `since`, of tasks, those of the main project there is."""
    main = next((project.id for project in desk.known() if not project.name), None)
    answered = select(Annotation.task_id).where(
        Annotation.task_id.is_not(None), Annotation.state != AnnotationState.DELETED
    )
    with desk.project.database.read() as session:
        labels = session.scalar(
            select(func.count(distinct(Label.image_id)))
            .join(AnnotationRevision, AnnotationRevision.annotation_id == Label.annotation_id)
            .where(Label.class_id.is_not(None), Label.origin != AnnotationOrigin.ACCEPTED)
            # By our clock, not the server's.
            .where(AnnotationRevision.recorded_at > max(since, learned_until(session)))
        )
        tasks = session.scalar(
            select(func.count()).where(
                LabellingTask.project_id == main,
                LabellingTask.state == TaskState.THERE,
                LabellingTask.id.not_in(answered),
            )
        )
    return Standing(labels or 0, tasks or 0)


def answers_since(session: Session, moment: datetime) -> int:
    """How many answers people gave, changed or took back that came in after a moment."""
    query = select(func.count()).select_from(AnnotationRevision).join(AnnotationRevision.annotation)
    mine = (Annotation.origin == AnnotationOrigin.LABEL_STUDIO) & (AnnotationRevision.recorded_at > moment)
    return session.scalar(query.where(mine)) or 0


def learned_until(session: Session) -> datetime:
    """When the newest split was frozen that a finished run learned from: what was labelled later it cannot know.

    Not when that run began: what came in between was neither in the split nor new.
    """
    query = select(func.max(Snapshot.created_at)).join(Run, Run.snapshot_id == Snapshot.id)
    return session.scalar(query.where(Run.state == RunState.FINISHED)) or _EPOCH


def learned(project: Project, snapshot: int) -> bool:
    """Whether a finished run learned from this split: labels that leave it as it was are nothing to train on."""
    with project.database.read() as session:
        query = select(Run.id).where(Run.snapshot_id == snapshot, Run.state == RunState.FINISHED)
        return session.scalar(query.limit(1)) is not None


def training_elsewhere(project: Project) -> str | None:
    """Name a run that a living process is training, if there is one."""
    with project.database.read() as session:
        running = session.scalars(select(Run.name).where(Run.state == RunState.RUNNING).order_by(Run.id)).all()
    for name in running:
        try:
            with project.lock(f"run-{name}").acquire(blocking=False):
                pass
        except Timeout:
            return name
    return None


@contextmanager
def alone(project: Project) -> Iterator[None]:
    """Let one process at a time keep the queue. Raises DatasetError."""
    try:
        with project.lock("watch").acquire(blocking=False):
            yield
    except Timeout:
        raise DatasetError(
            "another `curate label watch` or `curate loop` works on this project; stop that one first"
        ) from None
