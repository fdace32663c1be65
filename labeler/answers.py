"""What people say, read from Label Studio's JSON."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from db.batches import chunks
from db.labels import Answer
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    Image,
    ImageState,
    LabellingProject,
    LabellingTask,
    Other,
    Prediction,
    Prelabel,
    Run,
    TaskState,
)
from db.policy import Decision
from labeler.config import CONTROL, other_named
from labeler.dataset import Dataset
from labeler.known import missing


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
    values = [part.get("value") for part in _parts(result) if part.get("from_name") == CONTROL]
    said = [value.get("choices") for value in values if isinstance(value, dict)]
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


def mendable(session: Session, dataset: Dataset, projects: Collection[int], unusable: dict[str, int]) -> list[Answer]:
    """Give answers that named no class of ours before and do now, and report those that still do not.

    Reported are those that somebody can mend: in tasks that are there, of these projects, whose image nobody forgot.
    """
    there = LabellingTask.project_id.in_(projects) & (LabellingTask.state == TaskState.THERE)
    query = (
        select(Annotation, there & (Image.state != ImageState.FORGOTTEN))
        .join(Image, Image.id == Annotation.image_id)
        .outerjoin(LabellingTask, LabellingTask.id == Annotation.task_id)
        .where(Annotation.origin == AnnotationOrigin.LABEL_STUDIO, Annotation.state == AnnotationState.UNUSABLE)
    )
    mended = []
    for annotation, reported in session.execute(query.options(selectinload(Annotation.revisions))):
        last = annotation.revisions[-1]
        choices = _choices(last.answer.get("result"))
        class_id, other = _meant(dataset, choices)
        if class_id is not None or other is not None:
            mended.append(_mended(annotation, last, class_id, other))
        elif reported:
            said = json.dumps(choices, ensure_ascii=False)
            unusable[said] = unusable.get(said, 0) + 1
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


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
