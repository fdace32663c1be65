"""Predictions out to people: in the page the predicted class is selected already, and the least sure come first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select, update

from db.batches import chunks
from db.faults import fault
from db.models import LabellingProject, LabellingTask, Run, TaskState
from labeler.client import Server
from labeler.config import choice_result
from labeler.dataset import Dataset
from labeler.stock import take_stock

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """A prediction to show. `score` is the confidence: the queue serves the lowest first."""

    label: str
    score: float


def push_prelabels(
    dataset: Dataset, server: Server, project: LabellingProject, run: Run, predictions: Mapping[int, Shown]
) -> int:
    """Show `run`'s predictions, given by image id, on the tasks of these images; give how many were sent now.

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
            for ids in chunks([task.id for task in batch]):
                session.execute(update(LabellingTask).where(LabellingTask.id.in_(ids)).values(prelabelled_by_id=run.id))
    if server.prediction_counts(project.number).get(run.name):
        # An import leaves the project's version empty; without it the page shows no pre-label and keeps no order.
        # Of several versions the page shows this one: older ones stay, since removing them blocks people for seconds.
        server.update_project(
            project.number, model_version=run.name, sampling="Uncertainty sampling", show_collab_predictions=True
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
    score = round(min(max(shown.score, 0.0), 1.0), 6)  # one outside of 0-1 is dropped there without a word
    return {"task": task.number, "result": choice_result(shown.label), "score": score, "model_version": run.name}
