"""Images out to people, each as one task, however often and wherever this is broken off.

A task's row is written before the task is sent, and completed by its number after. A row without a number means that
a reply was lost: then the server is asked what it has, before anything is sent again.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.errors import LabelStudioError
from db.faults import fault
from db.models import Image, LabellingProject, LabellingTask, TaskState
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.withdraw import drop_unsent, withdraw_tasks

_BATCH = 1000
_UPLOAD_FILES = 50
"""The server takes 100 files and 250 MB a request."""
_UPLOAD_NAME = re.compile(r"-(\d+-[0-9a-f]{16})\.\w+$")
_UPLOADABLE = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp"}


@dataclass(frozen=True, slots=True)
class PushReport:
    """Tasks made now, and those found again after a lost reply."""

    created: int
    found: int


def push_tasks(dataset: Dataset, server: Server, project: LabellingProject, images: Sequence[int]) -> PushReport:
    """Make a task for each image, in this order, that has none yet. A task deleted on the server is not made again."""
    found = _reconcile(dataset, server, project)
    withdraw_tasks(dataset, server, project)
    drop_unsent(dataset, project)
    missing = _without_task(dataset, project, images)
    for batch in chunks(missing, _BATCH):
        _announce(dataset, server, project, batch)
    created = 0
    for tasks in chunks(_unconfirmed(dataset, project), _BATCH):
        _send(dataset, server, project, tasks)
        created += len(tasks)
    return PushReport(created, found)


def _reconcile(dataset: Dataset, server: Server, project: LabellingProject) -> int:
    """Find tasks on the server whose numbers never reached us."""
    waiting = {task.image_id: task.id for task in _unconfirmed(dataset, project)}
    if not waiting:
        return 0
    numbers: dict[int, int] = {}
    for page in server.task_data(project.number):
        for task in page.tasks:
            image_id = task["data"].get("image_id")
            if image_id in waiting:
                numbers.setdefault(waiting[image_id], task["id"])
    with dataset.database.write() as session:
        _confirm(session, numbers.items())
    return len(numbers)


def _without_task(dataset: Dataset, project: LabellingProject, images: Sequence[int]) -> list[int]:
    with dataset.database.read() as session:
        query = select(LabellingTask.image_id).where(LabellingTask.project_id == project.id)
        known = set(session.scalars(query))
    return [image_id for image_id in dict.fromkeys(images) if image_id not in known]


def _unconfirmed(dataset: Dataset, project: LabellingProject) -> list[LabellingTask]:
    query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.state == TaskState.SENT)
    with dataset.database.read() as session:
        return list(session.scalars(query.order_by(LabellingTask.id)))


def _announce(dataset: Dataset, server: Server, project: LabellingProject, image_ids: Sequence[int]) -> None:
    with dataset.database.read() as session:
        images = {i.id: i for ids in chunks(image_ids) for i in session.scalars(select(Image).where(Image.id.in_(ids)))}
    ordered = [images[image_id] for image_id in image_ids]
    urls = _local_urls(dataset, ordered) if server.local else _uploaded_urls(dataset, server, project, ordered)
    with dataset.database.write() as session:
        session.add_all(LabellingTask(project_id=project.id, image_id=i.id, data_url=urls[i.id]) for i in ordered)
    fault("push.announced")


def _send(dataset: Dataset, server: Server, project: LabellingProject, tasks: Sequence[LabellingTask]) -> None:
    data = [{"image": task.data_url, "image_id": task.image_id} for task in tasks]
    numbers = server.import_tasks(project.number, data)
    fault("push.sent")
    with dataset.database.write() as session:
        _confirm(session, zip((task.id for task in tasks), numbers, strict=True))


def _confirm(session: Session, numbers: Iterable[tuple[int, int]]) -> None:
    for task_id, number in numbers:
        task = session.get_one(LabellingTask, task_id)
        task.number, task.state = number, TaskState.THERE


def _local_urls(dataset: Dataset, images: Iterable[Image]) -> dict[int, str]:
    """Where a server on this machine, which may read the project folder, shows each image."""
    folder = dataset.store.root.relative_to(dataset.root).as_posix()
    return {i.id: f"/data/local-files/?d={quote(f'{folder}/{i.relative_path}')}" for i in images}


def _uploaded_urls(
    dataset: Dataset, server: Server, project: LabellingProject, images: Sequence[Image]
) -> dict[int, str]:
    """Upload images to a server that cannot read our disk, those that are not there yet; give where it shows each."""
    there = _uploads(server, project)
    missing = [image for image in images if _name(image) not in there]
    for batch in chunks(missing, _UPLOAD_FILES):
        server.upload(project.number, [_upload(dataset, image) for image in batch])
    there = _uploads(server, project) if missing else there
    lost = [image.id for image in images if _name(image) not in there]
    if lost:
        raise LabelStudioError(f"Label Studio at {server.url} lost the uploaded image {lost[0]}; run the push again")
    return {image.id: there[_name(image)] for image in images}


def _uploads(server: Server, project: LabellingProject) -> dict[str, str]:
    """Where the server shows each uploaded image, by the name we gave it."""
    found = ((_UPLOAD_NAME.search(url), url) for url in server.uploads(project.number))
    return {match[1]: url for match, url in found if match}


def _name(image: Image) -> str:
    """Name that an upload is found again by; the server puts a random word in front of it."""
    return f"{image.id}-{image.sha256[:16]}"


def _upload(dataset: Dataset, image: Image) -> tuple[str, bytes, str]:
    data = dataset.store.read(image.sha256, image.format)
    extension = _UPLOADABLE.get(image.format)
    if extension is None:  # AVIF is refused by name, though every browser shows it
        data, extension = _as_png(data), "png"
    return f"{_name(image)}.{extension}", data, f"image/{'jpeg' if extension == 'jpg' else extension}"


def _as_png(data: bytes) -> bytes:
    out = io.BytesIO()
    with Picture.open(io.BytesIO(data)) as picture:
        picture.save(out, "PNG")
    return out.getvalue()
