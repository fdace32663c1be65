"""Predictions out to people: in the page the predicted class is selected already, and the least sure come first."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select, update

from db.batches import chunks
from db.faults import fault
from db.models import LabellingProject, LabellingTask, Run, TaskState
from labeler.client import Server
from labeler.config import choice_result
from labeler.dataset import Dataset
from labeler.order import sampling
from labeler.stock import take_stock

_BATCH = 5000
"""Predictions a request: a server that curate did not start may count anew those of the whole project after each."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A prediction to show. `score` is the confidence: the queue serves the lowest first.

    One that is `hidden` is kept from people, to see what they say by themselves.
    """

    label: str
    score: float
    hidden: bool = False


def push_prelabels(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    run: Run,
    predictions: Mapping[int, Shown],
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Show `run`'s predictions, given by image id, on the tasks of these images; give how many were sent now.

    `advance` is told of each batch how many it has.

    The server keeps doubles, so its count is compared with ours first: after a lost reply this run's predictions are
    removed there and sent anew.
    """
    gone = set(take_stock(dataset, server, project).gone)  # of one such task the server refuses the whole batch
    query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.state == TaskState.THERE)
    with dataset.database.read() as session:
        tasks = [task for task in session.scalars(query.order_by(LabellingTask.id)) if task.id not in gone]
    if not _agree(server, project, run, sum(task.prelabelled_by_id == run.id for task in tasks)):
        _forget(dataset, project, run, tasks)
    due = [t for t in tasks if t.image_id in predictions and t.prelabelled_by_id != run.id]
    for batch in chunks(due, _BATCH):
        server.import_predictions(
            project.number, [_prediction(task, predictions[task.image_id], run) for task in batch]
        )
        fault("prelabels.sent")
        with dataset.database.write() as session:
            for hidden in (False, True):
                sent = [task.id for task in batch if predictions[task.image_id].hidden is hidden]
                values = {"prelabelled_by_id": run.id, "prelabel_hidden": hidden}
                for ids in chunks(sent):
                    session.execute(update(LabellingTask).where(LabellingTask.id.in_(ids)).values(values))
        advance(len(batch))
    if server.prediction_counts(project.number).get(run.name):
        # An import leaves the project's version empty; without it the page shows no pre-label and keeps no order.
        # Of several versions the page shows this one: older ones stay, since removing them blocks people for seconds.
        server.update_project(
            project.number,
            model_version=run.name,
            sampling=sampling(dataset, project),
            show_collab_predictions=True,
        )
    return len(due)


def _agree(server: Server, project: LabellingProject, run: Run, known: int) -> bool:
    """Whether the server holds as many of the run's predictions as we know of; if not, it holds none after this."""
    there = server.prediction_counts(project.number).get(run.name, 0)
    if there not in {0, known}:
        server.delete_predictions(project.number, run.name)
    return there == known


def _forget(dataset: Dataset, project: LabellingProject, run: Run, tasks: Iterable[LabellingTask]) -> None:
    mine = (LabellingTask.project_id == project.id) & (LabellingTask.prelabelled_by_id == run.id)
    with dataset.database.write() as session:
        session.execute(update(LabellingTask).where(mine).values(prelabelled_by_id=None))
    for task in tasks:
        if task.prelabelled_by_id == run.id:
            task.prelabelled_by_id = None


def _prediction(task: LabellingTask, shown: Shown, run: Run) -> dict[str, object]:
    return {"task": task.number, **prediction(shown, run.name)}


def prediction(shown: Shown, version: str) -> dict[str, object]:
    """Give a prediction as Label Studio takes it."""
    score = round(min(max(shown.score, 0.0), 1.0), 6)  # one outside of 0-1 is dropped there without a word
    # What is hidden has a place in the queue like the others, and chooses nothing.
    result = [] if shown.hidden else choice_result(shown.label)
    return {"result": result, "score": score, "model_version": version}
