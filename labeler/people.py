"""Names of the people who label: answers carry their numbers alone."""

from sqlalchemy import select

from db.labels import settle
from db.models import Annotation, Annotator, LabellingProject, LabellingTask
from labeler.client import Server
from labeler.dataset import Dataset


def learn_names(dataset: Dataset, server: Server) -> int:
    """Ask the server who its people are, if somebody answered whose name is not known; give how many are new.

    Their answers are settled again: a policy may trust them by name.
    """
    nameless = _nameless(dataset, server)
    if not nameless:
        return 0
    names = {number: email for number, email in server.people() if number in nameless}
    with dataset.database.write() as session:
        session.add_all(Annotator(server=server.identity, number=n, email=email) for n, email in names.items())
        session.flush()
        answered = select(Annotation.image_id).where(Annotation.annotator.in_(names), Annotation.task_id.is_not(None))
        settle(session, set(session.scalars(answered)))
    return len(names)


def _nameless(dataset: Dataset, server: Server) -> set[str]:
    query = (
        select(Annotation.annotator)
        .join(LabellingTask, LabellingTask.id == Annotation.task_id)
        .join(LabellingProject, LabellingProject.id == LabellingTask.project_id)
        .where(LabellingProject.server == server.identity, Annotation.annotator != "")
    )
    known = select(Annotator.number).where(Annotator.server == server.identity)
    with dataset.database.read() as session:
        return set(session.scalars(query.where(Annotation.annotator.not_in(known)).distinct()))
