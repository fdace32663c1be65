"""Images that somebody is asked to decide, as a view of their own in Label Studio: Community has no review queue."""

from collections.abc import Mapping

from sqlalchemy import select

from db.batches import chunks
from db.models import LabellingProject, LabellingTask, TaskState
from labeler.client import Server
from labeler.config import REVIEW
from labeler.dataset import Dataset

_TITLE = "Review"


def show_reviews(dataset: Dataset, server: Server, project: LabellingProject, reasons: Mapping[int, str]) -> int:
    """Let the view show the tasks of these images, each with its reason, and no others; give their number.

    Images without a task in the project are passed over.
    """
    tasks = _tasks(dataset, project, reasons)
    present = {task["id"]: task["data"] for page in server.task_data(project.number) for task in page.tasks}
    for number, reason in tasks.items():
        data = present.get(number)
        if data is not None and data.get(REVIEW) != reason:
            server.update_task(number, {**data, REVIEW: reason})
    for number, data in present.items():
        if number not in tasks and data.get(REVIEW):
            server.update_task(number, {**data, REVIEW: ""})
    if tasks:
        server.ensure_view(project.number, _TITLE, f"data.{REVIEW}")
    return len(tasks)


def _tasks(dataset: Dataset, project: LabellingProject, reasons: Mapping[int, str]) -> dict[int, str]:
    found: dict[int, str] = {}
    query = select(LabellingTask.number, LabellingTask.image_id)
    mine = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
    with dataset.database.read() as session:
        for ids in chunks(reasons):
            rows = session.execute(query.where(mine, LabellingTask.image_id.in_(ids)))
            found.update({number: reasons[image_id] for number, image_id in rows if number is not None})
    return found
