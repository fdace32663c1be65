"""Answers in from people: whatever was made, changed, skipped or deleted since the last time, each change on record."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
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
from labeler.ahead import ahead
from labeler.client import Server
from labeler.config import CONTROL, other_named
from labeler.dataset import Dataset
from labeler.known import adds_up, answers_known, missing, release_keys
from labeler.order import keep_order
from labeler.people import learn_names
from labeler.stock import adopt, note_gone, take_stock, too_many
from labeler.withdraw import withdraw_tasks

_OVERLAP = timedelta(seconds=60)
"""Of two pulls: a transaction on the server may become visible after a later one's time."""


@dataclass
class PullReport:
    """What a pull brought. `annotations` counts all answers that were new or changed."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    """Answers among the `updated` that are no longer there."""
    tasks_gone: int = 0
    doubled: int = 0
    """Pictures that stand twice on the server, with answers at both: those of one are not taken in."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Answers that name no class of ours, by what they say."""

    projects_gone: list[str] = field(default_factory=list)
    """Further projects that were deleted on the server; their labels stay."""

    def with_more(self, other: "PullReport") -> "PullReport":
        """Add what the pull of another project brought, after this one."""
        return PullReport(
            self.created + other.created,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.tasks_gone + other.tasks_gone,
            self.doubled + other.doubled,
            other.unusable,  # which are counted over all projects
        )

    @property
    def annotations(self) -> int:
        """Answers taken in."""
        return self.created + self.updated


def pull_annotations(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    *,
    accept_deletions: bool = False,
    full: bool = False,
) -> PullReport:
    """Take in every answer that changed since the last pull, or all where `full` says so.

    Raises LabelStudioError, and takes nothing away, when the project is gone, or when more than a few tasks or answers
    have vanished and `accept_deletions` does not say that this was meant.
    """
    report = PullReport()
    withdraw_tasks(dataset, server, project)  # first of all: what we delete ourselves is nothing to be asked about
    stock = take_stock(dataset, server, project)
    report.tasks_gone = note_gone(dataset, project, stock, accept_deletions=accept_deletions)
    adopted = adopt(dataset, server, project, stock)
    report.doubled = adopted.doubled
    since = None if full or adopted.found else project.pulled_until
    _read(dataset, server, project, since, report, accept_deletions=accept_deletions)
    if since is not None and not report.annotations and not adds_up(dataset, project, stock):
        # Whatever it was (a clock set back, answers moved by an action of the server's): what it says has changed is
        # not all that has.
        _read(dataset, server, project, None, report, accept_deletions=accept_deletions)
    _look_again(dataset, report)
    if learn_names(dataset, server):
        keep_order(dataset, server, project)  # with several people it is another way
    fault("pull.read")
    with dataset.database.write() as session:
        # By the server's clock when it was asked, not by the newest change seen: what changes meanwhile comes again.
        row = session.get_one(LabellingProject, project.id)
        row.pulled_until = None if stock.moment is None else stock.moment - _OVERLAP
    return report


def _read(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    since: datetime | None,
    report: PullReport,
    *,
    accept_deletions: bool,
) -> None:
    vanished: dict[str, Answer] = {}
    for page in ahead(server.changed_tasks(project.number, since)):
        for tasks in chunks(page.tasks):
            with dataset.database.write() as session:
                found, deleted = answers_of(session, dataset, project, tasks)
                vanished.update((answer.key, answer) for answer in deleted)
                for key in release_keys(session, found):
                    vanished.pop(key, None)
                _count(report, record(session, found))
    _take_away(dataset, project, list(vanished.values()), report, accept_deletions=accept_deletions)


def answers_of(
    session: Session, dataset: Dataset, project: LabellingProject, remote: Sequence[dict[str, Any]]
) -> tuple[list[Answer], list[Answer]]:
    """Give the answers of some tasks, and tombstones for those that these tasks no longer have."""
    numbers = [task["id"] for task in remote]
    # A task that is gone may have left its number to another.
    mine = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
    query = select(LabellingTask).where(mine, LabellingTask.number.in_(numbers))
    ours = {task.number: task for task in session.scalars(query)}
    predicted = _predicted(session, ours.values())
    answers = [
        _answer(dataset, project, ours[task["id"]], annotation, predicted)
        for task in remote
        if task["id"] in ours  # a task that somebody made by hand is none of ours
        for annotation in task.get("annotations") or []
    ]
    return answers, missing(session, ours.values(), answers)


def _take_away(
    dataset: Dataset,
    project: LabellingProject,
    vanished: Sequence[Answer],
    report: PullReport,
    *,
    accept_deletions: bool,
) -> None:
    """Record that answers were deleted, unless they are suspiciously many."""
    if not vanished:
        return
    with dataset.database.write() as session:
        known = answers_known(session, project, AnnotationState.DELETED)
        if too_many(len(vanished), known) and not accept_deletions:
            raise LabelStudioError(
                f"{len(vanished)} of {known} answers are no longer in Label Studio; none was taken away here. If that"
                " was meant, say so: `curate label pull --accept-deletions`"
            )
        recorded = record(session, vanished)
    _count(report, recorded)
    report.deleted += recorded.updated


def _look_again(dataset: Dataset, report: PullReport) -> None:
    with dataset.database.write() as session:
        _count(report, record(session, mendable(session, dataset, report)))


def mendable(session: Session, dataset: Dataset, report: PullReport) -> list[Answer]:
    """Give answers that named no class of ours before and do now, and report those that still do not."""
    query = select(Annotation).where(
        Annotation.origin == AnnotationOrigin.LABEL_STUDIO, Annotation.state == AnnotationState.UNUSABLE
    )
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
    return mended


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
        prelabel=_prelabel(dataset, remote, choices, predicted.get(task.id), hidden=task.prelabel_hidden),
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


def _prelabel(
    dataset: Dataset, remote: dict[str, Any], choices: Sequence[str], predicted: str | None, *, hidden: bool
) -> Prelabel:
    """Tell what became of the pre-label. The page says so itself; answers by other ways are compared with it."""
    # By what they count as: the class may have been renamed since.
    same = predicted is not None and [dataset.name_now(choice) for choice in choices] == [dataset.name_now(predicted)]
    if hidden and predicted is not None:
        return Prelabel.HIDDEN_SAME if same else Prelabel.HIDDEN_OTHER
    origins = {part.get("origin") for part in _parts(remote.get("result"))}
    if "prediction" in origins:
        return Prelabel.ACCEPTED
    if "prediction-changed" in origins:
        return Prelabel.CHANGED
    if remote.get("parent_prediction") is None or predicted is None:
        return Prelabel.NONE
    return Prelabel.ACCEPTED if same else Prelabel.CHANGED


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


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
