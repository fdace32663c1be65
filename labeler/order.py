"""In which order, and how often, Label Studio hands out tasks.

With one person at work it serves the lowest score first. With several it does not: there its "uncertainty sampling"
picks at random, so that two people do not get one task. In sequence it keeps the order in which tasks were made, which
is the order we chose, and lets nobody have what another is looking at.
"""

from sqlalchemy import func, select

from db.models import Annotation, LabellingProject, LabellingTask
from labeler.client import Server
from labeler.dataset import Dataset

ONE_PERSON = "Uncertainty sampling"
SEVERAL = "Sequential sampling"


def sampling(dataset: Dataset, project: LabellingProject) -> str:
    """Name the way of handing out tasks that keeps our order with as many people as have answered so far."""
    query = select(func.count(Annotation.annotator.distinct())).join(
        LabellingTask, LabellingTask.id == Annotation.task_id
    )
    with dataset.database.read() as session:
        people = session.scalar(query.where(LabellingTask.project_id == project.id)) or 0
    return SEVERAL if people > 1 or dataset.overlap > 1 else ONE_PERSON


def keep_order(dataset: Dataset, server: Server, project: LabellingProject) -> None:
    """Hand out tasks as they are to be, and each as often as `curate.toml` says, if the server does otherwise."""
    wanted: dict[str, object] = {
        "maximum_annotations": dataset.overlap,
        "overlap_cohort_percentage": round(100 * dataset.overlap_share) if dataset.overlap > 1 else 100,
    }
    present = server.project(project.number)
    if present.get("model_version"):  # without pre-labels there is no score to go by
        wanted["sampling"] = sampling(dataset, project)
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    if changed:
        server.update_project(project.number, **changed)
