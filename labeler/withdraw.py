"""Tasks of images that were forgotten: deleted on the server, whenever it next answers."""

from collections.abc import Iterable

from sqlalchemy import select, update

from db.batches import chunks
from db.faults import fault
from db.models import Image, ImageState, LabellingProject, LabellingTask, TaskState
from labeler.client import Server
from labeler.dataset import Dataset


def withdraw_tasks(dataset: Dataset, server: Server, project: LabellingProject) -> int:
    """Delete the tasks of forgotten images on the server, and the files uploaded for them; give their number.

    Doing it again after it was broken off is no error: what is gone there is noted as gone here.
    """
    tasks = forgotten(dataset, project, TaskState.THERE)
    if not tasks:
        return 0
    for task in tasks:
        if task.number is not None and server.shows(task.number, project.number, task.image_id):
            server.delete_task(task.number)
    if not server.local:
        server.delete_uploads(project.number, {task.data_url for task in tasks})
    fault("withdraw.deleted")
    _note_gone(dataset, tasks)
    return len(tasks)


def drop_unsent(dataset: Dataset, project: LabellingProject) -> None:
    """Let tasks of forgotten images that never reached the server go. The server has been asked whether they did."""
    tasks = forgotten(dataset, project, TaskState.SENT)
    if tasks:
        _note_gone(dataset, tasks)


def forgotten(dataset: Dataset, project: LabellingProject, state: TaskState) -> list[LabellingTask]:
    """Tasks of forgotten images that stand so."""
    query = select(LabellingTask).join(Image, Image.id == LabellingTask.image_id)
    mine = (LabellingTask.project_id == project.id) & (LabellingTask.state == state)
    with dataset.database.read() as session:
        return list(session.scalars(query.where(mine, Image.state == ImageState.FORGOTTEN).order_by(LabellingTask.id)))


def _note_gone(dataset: Dataset, tasks: Iterable[LabellingTask]) -> None:
    with dataset.database.write() as session:
        for ids in chunks(task.id for task in tasks):
            session.execute(update(LabellingTask).where(LabellingTask.id.in_(ids)).values(state=TaskState.GONE))
