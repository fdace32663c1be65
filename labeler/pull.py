"""Answers in from people: whatever was made, changed, skipped or deleted since the last time, each change on record."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.errors import LabelStudioError
from db.faults import fault
from db.labels import Answer, record
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationState,
    LabellingProject,
    LabellingTask,
    Prediction,
    Prelabel,
    Run,
    TaskState,
)
from labeler.client import Server
from labeler.config import CONTROL
from labeler.dataset import Dataset

_OVERLAP = timedelta(seconds=60)
"""Of two pulls: a transaction on the server may become visible after a later one's time."""
_FEW = 20
"""Tasks that may vanish at once without a question."""


@dataclass
class PullReport:
    """What a pull brought. `annotations` counts all answers that were new or changed."""

    created: int = 0
    updated: int = 0
    tasks_gone: int = 0
    unusable: dict[str, int] = field(default_factory=dict)
    """Answers that name no class of ours, by what they say."""

    @property
    def annotations(self) -> int:
        """Answers taken in."""
        return self.created + self.updated


def pull_annotations(
    dataset: Dataset, server: Server, project: LabellingProject, *, accept_deletions: bool = False
) -> PullReport:
    """Take in every answer that changed since the last pull.

    Raises LabelStudioError, and changes nothing, when the project is gone, or when more than a few tasks have vanished
    and `accept_deletions` does not say that this was meant.
    """
    report = PullReport()
    _notice_gone(dataset, server, project, report, accept_deletions=accept_deletions)
    since = None
    for page in server.changed_tasks(project.number, project.pulled_until):
        since = since or page.moment
        for tasks in chunks(page.tasks):
            _take_in(dataset, project, tasks, report)
    fault("pull.read")
    with dataset.database.write() as session:
        # By the server's clock when it was asked, not by the newest change seen: what changes meanwhile comes again.
        session.get_one(LabellingProject, project.id).pulled_until = (since or datetime.now(UTC)) - _OVERLAP
    return report


def _take_in(dataset: Dataset, project: LabellingProject, remote: Sequence[dict[str, Any]], report: PullReport) -> None:
    with dataset.database.write() as session:
        numbers = [task["id"] for task in remote]
        query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.number.in_(numbers))
        ours = {task.number: task for task in session.scalars(query)}
        predicted = _predicted(session, ours.values())
        answers: list[Answer] = []
        for task in remote:
            known = ours.get(task["id"])
            if known is not None:  # a task that somebody made by hand is none of ours
                found = [_answer(dataset, project, known, a, predicted) for a in task.get("annotations") or []]
                answers += [*found, *_deleted(session, known, {answer.key for answer in found})]
        recorded = record(session, answers)
        report.created += recorded.created
        report.updated += recorded.updated
        for answer in answers:
            if answer.state is AnnotationState.UNUSABLE:
                said = json.dumps(_choices(answer.raw.get("result") or []), ensure_ascii=False)
                report.unusable[said] = report.unusable.get(said, 0) + 1


def _answer(
    dataset: Dataset,
    project: LabellingProject,
    task: LabellingTask,
    remote: dict[str, Any],
    predicted: dict[int, str],
) -> Answer:
    result = remote.get("result") or []
    choices = _choices(result)
    class_id = dataset.classes.get(choices[0]) if len(choices) == 1 else None
    # First of all: a skip in the page carries the pre-label as its result.
    if remote.get("was_cancelled"):
        state, class_id = AnnotationState.SKIPPED, None
    else:
        state = AnnotationState.UNUSABLE if class_id is None else AnnotationState.ACTIVE
    return Answer(
        key=f"label_studio:{project.id}:{remote['id']}",
        origin=AnnotationOrigin.LABEL_STUDIO,
        image_id=task.image_id,
        task_id=task.id,
        state=state,
        class_id=class_id,
        answered_at=_moment(remote["updated_at"]),
        annotator=str(remote.get("completed_by") or ""),
        prelabel=_prelabel(remote, choices, predicted.get(task.id)),
        lead_time=remote.get("lead_time"),
        raw=remote,
    )


def _choices(result: Iterable[dict[str, Any]]) -> list[str]:
    return [str(c) for part in result if part.get("from_name") == CONTROL for c in part["value"].get("choices", [])]


def _prelabel(remote: dict[str, Any], choices: Sequence[str], predicted: str | None) -> Prelabel:
    """Tell what became of the pre-label. The page says so itself; answers by other ways are compared with it."""
    origins = {part.get("origin") for part in remote.get("result") or []}
    if "prediction" in origins:
        return Prelabel.ACCEPTED
    if "prediction-changed" in origins:
        return Prelabel.CHANGED
    if remote.get("parent_prediction") is None or predicted is None:
        return Prelabel.NONE
    return Prelabel.ACCEPTED if list(choices) == [predicted] else Prelabel.CHANGED


def _predicted(session: Session, tasks: Iterable[LabellingTask]) -> dict[int, str]:
    """Name the class that each task's pre-label showed."""
    shown = {task.id: (task.prelabelled_by_id, task.image_id) for task in tasks if task.prelabelled_by_id is not None}
    classes = {
        run.id: run.classes for run in session.scalars(select(Run).where(Run.id.in_({r for r, _ in shown.values()})))
    }
    found = {}
    for ids in chunks(sorted({image_id for _, image_id in shown.values()})):
        query = select(Prediction.run_id, Prediction.image_id, Prediction.class_index).where(
            Prediction.image_id.in_(ids), Prediction.run_id.in_(classes)
        )
        rows = {(run_id, image_id): classes[run_id][index] for run_id, image_id, index in session.execute(query)}
        found.update({task_id: rows[pair] for task_id, pair in shown.items() if pair in rows})
    return found


def _deleted(session: Session, task: LabellingTask, there: set[str]) -> list[Answer]:
    """Give tombstones for answers that the server no longer has."""
    query = select(Annotation).where(Annotation.task_id == task.id, Annotation.state != AnnotationState.DELETED)
    return [
        Answer(
            key=annotation.key,
            origin=annotation.origin,
            image_id=annotation.image_id,
            task_id=task.id,
            state=AnnotationState.DELETED,
            class_id=annotation.class_id,
            answered_at=annotation.answered_at,
            annotator=annotation.annotator,
        )
        for annotation in session.scalars(query)
        if annotation.key not in there
    ]


def _notice_gone(
    dataset: Dataset, server: Server, project: LabellingProject, report: PullReport, *, accept_deletions: bool
) -> None:
    """Note tasks that were deleted on the server; their labels stay. Deletion leaves no trace but a smaller count."""
    query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.state == TaskState.THERE)
    with dataset.database.read() as session:
        ours = {task.number: task.id for task in session.scalars(query)}
    if server.task_count(project.number) >= len(ours):
        return
    there = {task["id"] for page in server.task_data(project.number) for task in page.tasks}
    gone = [task_id for number, task_id in ours.items() if number not in there]
    if len(gone) > _FEW and len(gone) > len(ours) // 10 and not accept_deletions:
        raise LabelStudioError(
            f"{len(gone)} of {len(ours)} tasks are no longer in Label Studio; nothing was changed here. If that was"
            " meant, say so: `curate label pull --accept-deletions` (labels that were pulled stay)"
        )
    with dataset.database.write() as session:
        for task_id in gone:
            session.get_one(LabellingTask, task_id).state = TaskState.GONE
    report.tasks_gone = len(gone)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
