"""The Label Studio project that a dataset is labelled in."""

from sqlalchemy import select

from db.errors import LabelStudioError
from db.models import LabellingProject
from db.models.base import now
from labeler.client import Server
from labeler.dataset import Dataset


def ensure_project(dataset: Dataset, server: Server) -> tuple[LabellingProject, bool]:
    """Make the project on `server`, or find it and bring its page up to date; tell whether it was made now.

    One that was deleted there is noted as gone, with all its labels kept, and a new one is made.
    """
    project = known_project(dataset, server)
    if project is not None and not server.project_exists(project.number):
        _mark_gone(dataset, project)
        project = None
    made = project is None
    if project is None:
        number = server.create_project(dataset.title, dataset.config)
        project = _remember(dataset, server, number)
    elif project.config_sha256 != dataset.config_sha256:
        server.update_project(project.number, label_config=dataset.config)
        _remember_config(dataset, project)
    if server.local:
        server.serve_folder(project.number, str(dataset.store.root))
    return project, made


def known_project(dataset: Dataset, server: Server) -> LabellingProject | None:
    """Give the project that was made on `server`, as far as is known here."""
    query = select(LabellingProject).where(
        LabellingProject.server == server.identity, LabellingProject.gone_at.is_(None)
    )
    with dataset.database.read() as session:
        return session.scalars(query.order_by(LabellingProject.id.desc()).limit(1)).first()


def the_project(dataset: Dataset, server: Server) -> LabellingProject:
    """Give the project that was made on `server`. Raises LabelStudioError when there is none yet, or no longer."""
    project = known_project(dataset, server)
    if project is None:
        raise LabelStudioError(f"there is no project on {server.url} yet; make it with `curate label start`")
    if not server.project_exists(project.number):
        raise LabelStudioError(
            f"Label Studio at {server.url} no longer has project {project.number}; `curate label start` makes a new"
            " one, and all labels that were pulled stay"
        )
    return project


def _mark_gone(dataset: Dataset, project: LabellingProject) -> None:
    with dataset.database.write() as session:
        session.get_one(LabellingProject, project.id).gone_at = now()


def _remember(dataset: Dataset, server: Server, number: int) -> LabellingProject:
    with dataset.database.write() as session:
        project = LabellingProject(
            server=server.identity, number=number, title=dataset.title, config_sha256=dataset.config_sha256
        )
        session.add(project)
        session.flush()
        session.expunge(project)
    return project


def _remember_config(dataset: Dataset, project: LabellingProject) -> None:
    with dataset.database.write() as session:
        session.get_one(LabellingProject, project.id).config_sha256 = dataset.config_sha256
