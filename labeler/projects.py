"""The Label Studio project that a dataset is labelled in."""

import hashlib

from sqlalchemy import select

from db.errors import LabelStudioError
from db.models import LabellingProject
from db.models.base import now
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.guide import guide, is_ours
from labeler.page import follow


def ensure_project(dataset: Dataset, server: Server, *, reset_page: bool = False) -> tuple[LabellingProject, bool]:
    """Make the project on `server`, or find it and bring its page up to date; tell whether it was made now.

    One that was deleted there is noted as gone, with all its labels kept, and a new one is made. A page that a person
    has edited there stays, and gets the answers that it lacks, unless `reset_page` puts ours in its place.
    """
    project = known_project(dataset, server)
    if project is not None and not server.project_exists(project.number):
        _mark_gone(dataset, project)
        project = None
    made = project is None
    if project is None:
        number = server.create_project(dataset.title, dataset.config)
        project = _remember(dataset, server, number)
    else:
        _follow_page(dataset, server, project, reset=reset_page)
    _follow_guide(dataset, server, project)
    if server.local:
        server.serve_folder(project.number, str(dataset.store.root))
    return project, made


def page_is_edited(server: Server, project: LabellingProject) -> bool:
    """Whether the labelling page is no longer the one that was last sent."""
    return not _is_ours(str(server.project(project.number)["label_config"]), project)


def _follow_page(dataset: Dataset, server: Server, project: LabellingProject, *, reset: bool) -> None:
    present = str(server.project(project.number)["label_config"])
    if reset or _is_ours(present, project):
        if present != dataset.config:
            server.update_project(project.number, label_config=dataset.config)
            _remember_config(dataset, project)
        return
    wanted = follow(present, list(dataset.classes), dataset.hotkeys)
    if wanted != present:
        server.update_project(project.number, label_config=wanted)


def _follow_guide(dataset: Dataset, server: Server, project: LabellingProject) -> None:
    present = str(server.project(project.number).get("expert_instruction") or "")
    wanted = guide(list(dataset.classes), dataset.hotkeys, dataset.examples())
    if is_ours(present) and present != wanted:
        server.update_project(project.number, expert_instruction=wanted)


def _is_ours(page: str, project: LabellingProject) -> bool:
    # Earlier versions sent a line's end after the page, which the server drops.
    return project.config_sha256 in {_sha256(page), _sha256(f"{page}\n")}


def _sha256(page: str) -> str:
    return hashlib.sha256(page.encode()).hexdigest()


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
