"""Answers in from people: whatever was made, changed, skipped or deleted since the last time, each change on record."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from db.batches import chunks
from db.errors import LabelStudioError
from db.faults import fault
from db.labels import Answer, Recorded, record
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    LabellingProject,
    LabellingTask,
    Other,
    Prediction,
    Prelabel,
    Run,
    TaskState,
)
from db.policy import Decision
from labeler.client import Server
from labeler.config import CONTROL, other_named
from labeler.dataset import Dataset
from labeler.gone import vanished_tasks
from labeler.order import keep_order
from labeler.people import learn_names
from labeler.withdraw import withdraw_tasks

_OVERLAP = timedelta(seconds=60)
"""Of two pulls: a transaction on the server may become visible after a later one's time."""
_FEW = 20
"""Tasks, or answers, that may vanish at once without a question."""


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

    Raises LabelStudioError, and takes nothing away, when the project is gone, or when more than a few tasks or answers
    have vanished and `accept_deletions` does not say that this was meant.
    """
    report = PullReport()
    withdraw_tasks(dataset, server, project)  # first of all: what we delete ourselves is nothing to be asked about
    _notice_gone(dataset, server, project, report, accept_deletions=accept_deletions)
    since = None
    vanished: list[Answer] = []
    for page in server.changed_tasks(project.number, project.pulled_until):
        since = since or page.moment
        for tasks in chunks(page.tasks):
            vanished += _take_in(dataset, project, tasks, report)
    _take_away(dataset, project, vanished, report, accept_deletions=accept_deletions)
    _look_again(dataset, report)
    if learn_names(dataset, server):
        keep_order(dataset, server, project)  # with several people it is another way
    fault("pull.read")
    with dataset.database.write() as session:
        # By the server's clock when it was asked, not by the newest change seen: what changes meanwhile comes again.
        session.get_one(LabellingProject, project.id).pulled_until = (since or datetime.now(UTC)) - _OVERLAP
    return report


def _take_in(
    dataset: Dataset, project: LabellingProject, remote: Sequence[dict[str, Any]], report: PullReport
) -> list[Answer]:
    """Record the answers of some tasks, and give tombstones for those that these tasks no longer have."""
    with dataset.database.write() as session:
        numbers = [task["id"] for task in remote]
        query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.number.in_(numbers))
        ours = {task.number: task for task in session.scalars(query)}
        predicted = _predicted(session, ours.values())
        answers: list[Answer] = []
        vanished: list[Answer] = []
        for task in remote:
            known = ours.get(task["id"])
            if known is not None:  # a task that somebody made by hand is none of ours
                found = [_answer(dataset, project, known, a, predicted) for a in task.get("annotations") or []]
                answers += found
                vanished += _deleted(session, known, {answer.key for answer in found})
        _count(report, record(session, answers))
    return vanished


def _take_away(
    dataset: Dataset,
    project: LabellingProject,
    vanished: Sequence[Answer],
    report: PullReport,
    *,
    accept_deletions: bool,
) -> None:
    """Record that answers were deleted, unless they are suspiciously many."""
    standing = (
        select(func.count())
        .select_from(Annotation)
        .join(LabellingTask, Annotation.task_id == LabellingTask.id)
        .where(LabellingTask.project_id == project.id, Annotation.state != AnnotationState.DELETED)
    )
    with dataset.database.write() as session:
        known = session.scalar(standing) or 0
        if _too_many(len(vanished), known) and not accept_deletions:
            raise LabelStudioError(
                f"{len(vanished)} of {known} answers are no longer in Label Studio; none was taken away here. If that"
                " was meant, say so: `curate label pull --accept-deletions`"
            )
        _count(report, record(session, vanished))


def _look_again(dataset: Dataset, report: PullReport) -> None:
    """Mend answers that named no class of ours before and do now, and report those that still do not."""
    query = select(Annotation).where(
        Annotation.origin == AnnotationOrigin.LABEL_STUDIO, Annotation.state == AnnotationState.UNUSABLE
    )
    with dataset.database.write() as session:
        mended = []
        for annotation in session.scalars(query.options(selectinload(Annotation.revisions))):
            last = annotation.revisions[-1]
            choices = _choices(last.answer.get("result"))
            class_id, other = _meant(dataset, choices)
            if class_id is None and other is None:
                said = json.dumps(choices, ensure_ascii=False)
                report.unusable[said] = report.unusable.get(said, 0) + 1
            else:
                mended.append(_mended(annotation, last, class_id, other))
        _count(report, record(session, mended))


def _mended(annotation: Annotation, last: AnnotationRevision, class_id: int | None, other: Other | None) -> Answer:
    return Answer(
        key=annotation.key,
        origin=annotation.origin,
        image_id=annotation.image_id,
        task_id=annotation.task_id,
        state=AnnotationState.ACTIVE,
        class_id=class_id,
        other=other,
        answered_at=annotation.answered_at,
        annotator=annotation.annotator,
        prelabel=last.prelabel,
        lead_time=last.lead_time,
        raw=last.answer,
    )


def _count(report: PullReport, recorded: Recorded) -> None:
    report.created += recorded.created
    report.updated += recorded.updated


def _answer(
    dataset: Dataset,
    project: LabellingProject,
    task: LabellingTask,
    remote: dict[str, Any],
    predicted: dict[int, str],
) -> Answer:
    choices = _choices(remote.get("result"))
    class_id, other = _meant(dataset, choices)
    # First of all: a skip in the page carries the pre-label as its result.
    if remote.get("was_cancelled"):
        state, class_id, other = AnnotationState.SKIPPED, None, None
    else:
        meant = class_id is not None or other is not None
        state = AnnotationState.ACTIVE if meant else AnnotationState.UNUSABLE
    return Answer(
        key=f"label_studio:{project.id}:{remote['id']}",
        origin=AnnotationOrigin.LABEL_STUDIO,
        image_id=task.image_id,
        task_id=task.id,
        state=state,
        class_id=class_id,
        other=other,
        answered_at=_moment(remote["updated_at"]),
        annotator=str(remote.get("completed_by") or ""),
        prelabel=_prelabel(remote, choices, predicted.get(task.id), hidden=task.prelabel_hidden),
        lead_time=remote.get("lead_time"),
        raw=remote,
    )


def _meant(dataset: Dataset, choices: Sequence[str]) -> Decision:
    """The class that is named, or what else is said; neither where several things are, or nothing that we know."""
    if len(choices) != 1:
        return None, None
    class_id = dataset.class_id(choices[0])
    return class_id, other_named(choices[0]) if class_id is None else None


def _choices(result: Any) -> list[str]:  # noqa: ANN401 - the API takes any JSON for a result, and gives it back
    said = [(part.get("value") or {}).get("choices") for part in _parts(result) if part.get("from_name") == CONTROL]
    return [str(choice) for choices in said if isinstance(choices, list) for choice in choices]


def _parts(result: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - as above
    return [part for part in result if isinstance(part, dict)] if isinstance(result, list) else []


def _prelabel(remote: dict[str, Any], choices: Sequence[str], predicted: str | None, *, hidden: bool) -> Prelabel:
    """Tell what became of the pre-label. The page says so itself; answers by other ways are compared with it."""
    if hidden and predicted is not None:
        return Prelabel.HIDDEN_SAME if list(choices) == [predicted] else Prelabel.HIDDEN_OTHER
    origins = {part.get("origin") for part in _parts(remote.get("result"))}
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
    """Note tasks that were deleted on the server; their labels stay."""
    gone, known = vanished_tasks(dataset, server, project)
    if _too_many(len(gone), known) and not accept_deletions:
        raise LabelStudioError(
            f"{len(gone)} of {known} tasks are no longer in Label Studio; nothing was changed here. If that was"
            " meant, say so: `curate label pull --accept-deletions` (labels that were pulled stay)"
        )
    with dataset.database.write() as session:
        for task_id in gone:
            session.get_one(LabellingTask, task_id).state = TaskState.GONE
    report.tasks_gone = len(gone)


def _too_many(gone: int, known: int) -> bool:
    return gone > _FEW and gone > known // 10


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
