"""Images out to people, each as one task, however often and wherever this is broken off.

A task's row is written before the task is sent, and completed by its number after. A row without a number means that
a reply was lost: then the server is asked what it has, before anything is sent again.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from sqlalchemy import select, update

from db.batches import chunks
from db.faults import fault
from db.models import Image, LabellingProject, LabellingTask, TaskState
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.stock import adopt, note_gone, release_numbers, take_stock
from labeler.uploads import Uploads
from labeler.withdraw import drop_unsent, withdraw_tasks

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class PushReport:
    """Tasks made now, and those found again after a lost reply."""

    created: int
    found: int


def push_tasks(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    images: Sequence[int],
    control: Collection[int] = (),
    advance: Callable[[int], None] = lambda _: None,
) -> PushReport:
    """Make a task for each image, in this order, that has none yet. A task deleted on the server is not made again.

    Of these, the images of `control` were drawn at random, which is put on record; `advance` is told how many are done.
    Raises LabelStudioError when so many tasks are gone there that a person has to say whether that was meant.
    """
    interrupted = bool(unconfirmed(dataset, project))
    withdraw_tasks(dataset, server, project)
    found = _take_stock(dataset, server, project)
    withdraw_tasks(dataset, server, project)  # of what was found
    drop_unsent(dataset, project)
    created = _send(dataset, server, project)
    uploads = None if server.local else Uploads(server, project)
    for batch in chunks(without_task(dataset, project, images), _BATCH):
        _announce(dataset, project, batch, control, uploads)
        created += _send(dataset, server, project)
        advance(len(batch))
    if interrupted and created:
        _take_stock(dataset, server, project)  # the request that broke off may have been served in the meantime
    return PushReport(created, found)


def _take_stock(dataset: Dataset, server: Server, project: LabellingProject) -> int:
    """Note what was deleted there, and find tasks whose numbers never reached us; give how many were found."""
    stock = take_stock(dataset, server, project)
    note_gone(dataset, project, stock, accept_deletions=False)
    return adopt(dataset, server, project, stock).found


def without_task(dataset: Dataset, project: LabellingProject, images: Sequence[int]) -> list[int]:
    """Those of these images that were never sent to the project, each once."""
    with dataset.database.read() as session:
        query = select(LabellingTask.image_id).where(LabellingTask.project_id == project.id)
        known = set(session.scalars(query))
    return [image_id for image_id in dict.fromkeys(images) if image_id not in known]


def unconfirmed(dataset: Dataset, project: LabellingProject) -> list[LabellingTask]:
    """Tasks that were about to be sent when a push ended."""
    query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.state == TaskState.SENT)
    with dataset.database.read() as session:
        return list(session.scalars(query.order_by(LabellingTask.id)))


def _announce(
    dataset: Dataset,
    project: LabellingProject,
    image_ids: Sequence[int],
    control: Collection[int],
    uploads: Uploads | None,
) -> None:
    with dataset.database.read() as session:
        images = {i.id: i for ids in chunks(image_ids) for i in session.scalars(select(Image).where(Image.id.in_(ids)))}
    ordered = [images[image_id] for image_id in image_ids]
    urls = _local_urls(dataset, ordered) if uploads is None else uploads.urls(dataset, ordered)
    with dataset.database.write() as session:
        session.add_all(
            LabellingTask(project_id=project.id, image_id=i.id, data_url=urls[i.id], control=i.id in control)
            for i in ordered
        )
    fault("push.announced")


def _send(dataset: Dataset, server: Server, project: LabellingProject) -> int:
    """Send what is announced; give how many tasks were made."""
    return sum(_send_batch(dataset, server, project, b) for b in chunks(unconfirmed(dataset, project), _BATCH))


def _send_batch(dataset: Dataset, server: Server, project: LabellingProject, tasks: Sequence[LabellingTask]) -> int:
    data = [{"image": task.data_url, "image_id": task.image_id} for task in tasks]
    numbers = server.import_tasks(project.number, data)
    fault("push.sent")
    confirmed = [
        {"id": task.id, "number": number, "state": TaskState.THERE} for task, number in zip(tasks, numbers, strict=True)
    ]
    with dataset.database.write() as session:
        release_numbers(session, project, numbers)
        session.execute(update(LabellingTask), confirmed)
    return len(confirmed)


def _local_urls(dataset: Dataset, images: Iterable[Image]) -> dict[int, str]:
    """Where a server on this machine, which may read the project folder, shows each image."""
    folder = dataset.store.root.relative_to(dataset.root).as_posix()
    return {i.id: f"/data/local-files/?d={quote(f'{folder}/{i.relative_path}')}" for i in images}
