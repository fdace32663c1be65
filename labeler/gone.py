"""Tasks that were deleted on the server: deletion leaves no trace there but a smaller count."""

from sqlalchemy import select

from db.models import LabellingProject, LabellingTask, TaskState
from labeler.client import Server
from labeler.dataset import Dataset


def vanished_tasks(dataset: Dataset, server: Server, project: LabellingProject) -> tuple[list[int], int]:
    """Give our ids of the tasks that the server no longer has, and how many it should have."""
    query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.state == TaskState.THERE)
    with dataset.database.read() as session:
        ours = {task.number: task.id for task in session.scalars(query)}
    if server.task_count(project.number) >= len(ours):  # 0.1 s where listing 3,000 takes more than one
        return [], len(ours)
    there = {task["id"] for page in server.task_data(project.number) for task in page.tasks}
    return [task_id for number, task_id in ours.items() if number not in there], len(ours)
