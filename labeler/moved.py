"""A server of the user's own that is now at another address: still the one that the dataset is labelled on."""

from sqlalchemy import select, update

from db.models import Annotator, LabellingProject
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.projects import known_project, mark_of
from labeler.stock import take_stock


def elsewhere(dataset: Dataset, server: Server, name: str) -> list[LabellingProject]:
    """Projects of this name that were made at other addresses, the newest first; none where there is one at this."""
    if server.local or known_project(dataset, server, name) is not None:
        return []
    theirs = ~LabellingProject.server.startswith("local:") & LabellingProject.gone_at.is_(None)
    query = select(LabellingProject).where(theirs, LabellingProject.name == name)
    with dataset.database.read() as session:
        return list(session.scalars(query.order_by(LabellingProject.id.desc())))


def is_here(dataset: Dataset, server: Server, project: LabellingProject) -> bool:
    """Whether `server` has a project that was made at another address: by its mark, or by what it holds."""
    if server.project_described(mark_of(dataset, project)) == project.number:
        return True
    if not server.project_exists(project.number):
        return False
    stock = take_stock(dataset, server, project)  # people edit descriptions, and move the folder that is in the mark
    return stock.known > 0 and not stock.foreign


def take_along(dataset: Dataset, server: Server, old: str) -> None:
    """Let all that was known of a server, at its address `old`, be known of it where it is now."""
    with dataset.database.write() as session:
        for table in (LabellingProject, Annotator):
            taken = select(table.number).where(table.server == server.identity)
            moved = update(table).where(table.server == old, table.number.not_in(taken))
            session.execute(moved.values(server=server.identity))
