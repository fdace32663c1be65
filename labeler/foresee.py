"""What a push or a pull would do: compared in the same way, and nothing is changed on either side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.labels import Answer, counting, differs
from db.models import Annotation, AnnotationState, LabellingProject, LabellingTask, Run, TaskState
from labeler.answers import answers_of, mendable
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.known import answers_known, tombstone, unaccounted
from labeler.prelabels import Shown
from labeler.push import unconfirmed, without_task
from labeler.stock import Stock, take_stock, too_many
from labeler.withdraw import forgotten


@dataclass(frozen=True, slots=True)
class PushPlan:
    """Ids of images: whose tasks would be made, found again, and deleted there, and who would get a pre-label.

    `gone` tasks were deleted there; `stops` says that they are so many that a push would ask first.
    """

    create: list[int]
    found: list[int]
    withdraw: list[int]
    prelabel: list[int]
    gone: int
    stops: bool


def foresee_push(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    images: Sequence[int],
    run: Run | None,
    predictions: Mapping[int, Shown],
) -> PushPlan:
    """Say what a push of these images, and of these predictions by `run`, would do."""
    stock = take_stock(dataset, server, project)
    withdraw = {task.image_id for state in TaskState for task in forgotten(dataset, project, state)}
    there = {stranger.image_id: stranger.url for stranger in stock.strangers}
    waiting = [task for task in unconfirmed(dataset, project) if task.image_id not in withdraw]
    found = [task.image_id for task in waiting if there.get(task.image_id) == task.data_url]
    create = [task.image_id for task in waiting if task.image_id not in found]
    create += [image_id for image_id in without_task(dataset, project, images) if image_id not in there]
    prelabel: list[int] = []
    if run is not None:
        kept = _kept(dataset, project, stock, withdraw)
        sent = {image_id for image_id, run_id in kept.items() if run_id == run.id}
        if server.prediction_counts(project.number).get(run.name, 0) != len(sent):
            sent = set()
        prelabel = [i for i in [*kept, *found, *create] if i in predictions and i not in sent]
    known = [task.image_id for task in forgotten(dataset, project, TaskState.THERE)]
    return PushPlan(create, found, known, prelabel, len(stock.gone), stock.suspicious)


def _kept(dataset: Dataset, project: LabellingProject, stock: Stock, withdraw: set[int]) -> dict[int, int | None]:
    """Images whose tasks stay, and the run whose prediction each shows."""
    query = select(LabellingTask.id, LabellingTask.image_id, LabellingTask.prelabelled_by_id)
    there = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
    gone = set(stock.gone)
    with dataset.database.read() as session:
        rows = session.execute(query.where(there).order_by(LabellingTask.id)).all()
    return {image_id: run_id for number, image_id, run_id in rows if number not in gone and image_id not in withdraw}


@dataclass(frozen=True, slots=True)
class Change:
    """One answer that would come in. `before` and `after` are names of classes, or of states that are no label."""

    image: int
    project: int
    what: str
    annotator: str
    before: str | None
    after: str | None


@dataclass
class PullPlan:
    """What a pull would take in, by answer; tasks that are gone there, and those that it would delete there.

    `stops` says that so much is gone that the pull would ask first.
    """

    changes: list[Change] = field(default_factory=list)
    tasks_gone: int = 0
    withdraw: list[int] = field(default_factory=list)
    unusable: dict[str, int] = field(default_factory=dict)
    stops: bool = False

    def count(self, what: str) -> int:
        """How many answers would be `new`, `changed` or `deleted`."""
        return sum(change.what == what for change in self.changes)


def foresee_pull(
    dataset: Dataset, server: Server, project: LabellingProject, plan: PullPlan, *, full: bool = False
) -> None:
    """Add to `plan` what a pull from this project would bring."""
    stock = take_stock(dataset, server, project)
    withdraw = forgotten(dataset, project, TaskState.THERE)
    deleting = {task.id for task in withdraw}
    plan.withdraw += [task.image_id for task in withdraw]
    plan.tasks_gone += len(set(stock.gone) - deleting)
    plan.stops |= stock.suspicious
    since = None if full else project.pulled_until
    changes = _changes(dataset, server, project, deleting, since)
    if since is not None and not changes and unaccounted(dataset, project, stock):
        changes = _changes(dataset, server, project, deleting, None)
    plan.changes += changes
    deleted = sum(change.what == "deleted" for change in changes)
    plan.stops |= too_many(deleted, _standing(dataset, project))


def foresee_mended(dataset: Dataset, projects: Sequence[LabellingProject], plan: PullPlan) -> None:
    """Add answers that named no class of ours before and do now, once for all projects."""
    with dataset.database.read() as session:
        known = {change.image for change in plan.changes}
        mended = mendable(session, dataset, [project.id for project in projects], plan.unusable)
        plan.changes += _compared(session, dataset, 0, [one for one in mended if one.image_id not in known])


def _changes(
    dataset: Dataset, server: Server, project: LabellingProject, deleting: set[int], since: datetime | None
) -> list[Change]:
    changes: list[Change] = []
    for page in server.changed_tasks(project.number, since):
        for tasks in chunks(page.tasks):
            with dataset.database.read() as session:
                found, missing = answers_of(session, dataset, project, tasks)
                wanted = [answer for answer in [*found, *missing] if answer.task_id not in deleting]
                changes += _compared(session, dataset, project.number, wanted)
    return changes


def _compared(session: Session, dataset: Dataset, number: int, answers: Iterable[Answer]) -> list[Change]:
    names = {class_id: name for name, class_id in dataset.classes.items()}
    changes = []
    for batch in chunks(map(counting(session), answers)):
        query = select(Annotation).where(Annotation.key.in_([answer.key for answer in batch]))
        known = {annotation.key: annotation for annotation in session.scalars(query)}
        for answer in batch:
            old = known.get(answer.key)
            if old is not None and old.image_id != answer.image_id:  # the server gave its number anew
                changes.append(_change(number, names, old, tombstone(old)))
                old = None
            if old is None or differs(old, answer):
                changes.append(_change(number, names, old, answer))
    return changes


def _change(number: int, names: Mapping[int, str], old: Annotation | None, answer: Answer) -> Change:
    what = "new" if old is None else "deleted" if answer.state is AnnotationState.DELETED else "changed"
    before, after = (None if one is None else _said(one, names) for one in (old, answer))
    return Change(answer.image_id, number, what, answer.annotator, before, None if what == "deleted" else after)


def _said(answer: Annotation | Answer, names: Mapping[int, str]) -> str:
    if answer.state is AnnotationState.ACTIVE and answer.class_id is not None:
        return names[answer.class_id]
    if answer.state is AnnotationState.ACTIVE and answer.other is not None:
        return answer.other.value
    return answer.state.value


def _standing(dataset: Dataset, project: LabellingProject) -> int:
    with dataset.database.read() as session:
        return answers_known(session, project, AnnotationState.DELETED)
