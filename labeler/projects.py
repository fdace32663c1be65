"""The Label Studio projects that a dataset is labelled in: the main one, and others by names of their own."""

import hashlib
import shlex
import uuid

from sqlalchemy import func, select

from db.errors import LabelStudioError
from db.faults import fault
from db.models import Image, LabellingProject
from db.models.base import now
from labeler.client import Server
from labeler.config import CONTROL
from labeler.dataset import Dataset
from labeler.guide import guide, is_ours
from labeler.page import follow, pictures
from labeler.retired import outdated, retire, withdraw_prelabels
from labeler.stock import take_stock
from labeler.wire import GoneError

_LONGEST_NAME = 30


class NoProjectError(GoneError):
    """There is no project on the server: trying again changes nothing."""


class LostError(LabelStudioError):
    """What was made on a server is no longer there. Whether a new one takes its place is for a person to say."""


def checked_name(name: str) -> str:
    """Bring the name of a further project to its one form. Raises LabelStudioError for one that cannot be."""
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise LabelStudioError(f"{name!r} is no name for a project: 1 to {_LONGEST_NAME} characters")
    return name


def ensure_project(
    dataset: Dataset, server: Server, name: str = "", *, new: bool = False, reset_page: bool = False
) -> tuple[LabellingProject, bool]:
    """Make a project on `server`, or find it and bring its page up to date; tell whether it was made now.

    One that was deleted there is noted as gone, with all its labels kept, and a new one is made, if `new` says so;
    else it raises LostError. A page that a person has edited there stays, and gets the answers that it lacks, unless
    `reset_page` puts ours in its place.
    """
    project = known_project(dataset, server, name)
    if project is not None and (lost := _lost(dataset, server, project)):
        if not new:
            raise LostError(f"{lost}. Its labels that were pulled stay")
        mark_gone(dataset, project)
        project = None
    made = project is None
    if project is None:
        project = _make(dataset, server, name)
    else:
        _follow_page(dataset, server, project, reset=reset_page)
    _follow_guide(dataset, server, project)
    if server.local:
        server.serve_folder(project.number, str(dataset.store.root))
    return project, made


def page_is_edited(server: Server, project: LabellingProject) -> bool:
    """Whether the labelling page is no longer the one that was last sent."""
    return not _is_ours(str(server.project(project.number)["label_config"]), project)


def follow_classes(dataset: Dataset, server: Server, project: LabellingProject) -> None:
    """Bring page and guide up to date where the classes have changed since, or an example was forgotten.

    Else one question is all it takes.
    """
    page = str(server.project(project.number)["label_config"])
    if outdated(page, dataset) or (dataset.forgotten and not pictures(page) <= set(dataset.drawn.values())):
        _follow_page(dataset, server, project, reset=False)
        _follow_guide(dataset, server, project)


def _follow_page(dataset: Dataset, server: Server, project: LabellingProject, *, reset: bool) -> None:
    present = str(server.project(project.number)["label_config"])
    ours = reset or _is_ours(present, project)
    wanted = dataset.config if ours else follow(present, list(dataset.classes), dataset.hotkeys, dataset.drawn)
    wanted = retire(wanted, dataset, server.used_choices(project.number, CONTROL))
    if wanted == present:
        return
    withdraw_prelabels(dataset, server, project)
    server.update_project(project.number, label_config=wanted)
    fault("page.sent")
    if ours:
        _remember_config(dataset, project, wanted)


def _follow_guide(dataset: Dataset, server: Server, project: LabellingProject) -> None:
    present = str(server.project(project.number).get("expert_instruction") or "")
    wanted = guide(list(dataset.classes), dataset.hotkeys)
    if is_ours(present) and present != wanted:
        server.update_project(project.number, expert_instruction=wanted)


def _is_ours(page: str, project: LabellingProject) -> bool:
    # Earlier versions sent a line's end after the page, which the server drops.
    return project.config_sha256 in {_sha256(page), _sha256(f"{page}\n")}


def _sha256(page: str) -> str:
    return hashlib.sha256(page.encode()).hexdigest()


def _lost(dataset: Dataset, server: Server, project: LabellingProject) -> str:
    """Say in what way a project is gone, if it is."""
    if not server.project_exists(project.number):
        return f"Label Studio at {server.url} no longer has project {project.number}"
    stock = take_stock(dataset, server, project)
    if stock.foreign:  # a server that was reset gives its number to another
        return (
            f"project {project.number} at {server.url} holds none of the {stock.known} tasks that were sent to it; if"
            " they were deleted on purpose, say so: `curate label pull --accept-deletions`"
        )
    return ""


def known_project(dataset: Dataset, server: Server, name: str = "") -> LabellingProject | None:
    """Give the project that was made on `server`, the main one unless told, as far as is known here."""
    found = [project for project in known_projects(dataset, server) if project.name == name]
    return found[-1] if found else None


def known_projects(dataset: Dataset, server: Server) -> list[LabellingProject]:
    """Give all projects that were made on `server` and are not known to be gone: the main one first."""
    here = (LabellingProject.server == server.identity) & LabellingProject.gone_at.is_(None)
    with dataset.database.read() as session:
        found = session.scalars(select(LabellingProject).where(here)).all()
    return sorted(found, key=lambda project: (project.name != "", project.id))


def left_behind(dataset: Dataset, identity: str | None) -> list[LabellingProject]:
    """Projects on servers that curate once started here, other than the one there is: its data folder was replaced."""
    local = LabellingProject.server.startswith("local:") & LabellingProject.gone_at.is_(None)
    with dataset.database.read() as session:
        found = session.scalars(select(LabellingProject).where(local).order_by(LabellingProject.id)).all()
    return [project for project in found if project.server != identity]


def the_project(dataset: Dataset, server: Server, name: str = "") -> LabellingProject:
    """Give the project that was made on `server`. Raises NoProjectError when there is none yet, or no longer."""
    project = known_project(dataset, server, name)
    if project is None and name:
        names = ", ".join(p.name for p in known_projects(dataset, server) if p.name) or "none"
        raise LabelStudioError(
            f"no project {name!r} on {server.url}; there is: {names}. Make it with `curate label start{_named(name)}`"
        )
    if project is None:
        raise NoProjectError(f"there is no project on {server.url} yet; make it with `curate label start`")
    if not server.project_exists(project.number):
        raise NoProjectError(
            f"Label Studio at {server.url} no longer has project {project.number};"
            f" `curate label start{_named(name)} --new-project` makes a new one, and all labels that were pulled stay"
        )
    return project


def _named(name: str) -> str:
    return f" --project-name {shlex.quote(name)}" if name else ""


def mark_gone(dataset: Dataset, project: LabellingProject) -> None:
    """Note that a project is no longer on its server. Its answers stay."""
    with dataset.database.write() as session:
        session.get_one(LabellingProject, project.id).gone_at = now()


def _make(dataset: Dataset, server: Server, name: str) -> LabellingProject:
    mark = _mark(dataset, server.identity, name)
    number = server.project_described(mark)
    if number is None:
        title = f"{dataset.title}: {name}" if name else dataset.title
        number = server.create_project(title, dataset.config, f"Made by curate ({mark})")
    else:
        server.update_project(number, label_config=dataset.config)
    return _remember(dataset, server, name, number)


def mark_of(dataset: Dataset, project: LabellingProject) -> str:
    """Give the word that is in the description of a project on record."""
    return _mark(dataset, project.server, project.name, before=project.id)


def _mark(dataset: Dataset, identity: str, name: str, before: int | None = None) -> str:
    """Give a word that stays the same until the project is on record: one whose reply was lost is found by it."""
    here = LabellingProject.server.startswith(identity, autoescape=True)  # what was renamed below, too
    earlier = select(func.count()).where(here, LabellingProject.name == name)
    if before is not None:
        earlier = earlier.where(LabellingProject.id < before)
    with dataset.database.read() as session:
        # Folders of one name on two machines may share a server, but got no image in the same microsecond.
        began = session.scalar(select(func.min(Image.stored_at))) or uuid.uuid4()
        said = f"{identity}\n{name}\n{dataset.root}\n{began}\n{session.scalar(earlier)}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _remember(dataset: Dataset, server: Server, name: str, number: int) -> LabellingProject:
    place = server.identity
    with dataset.database.write() as session:
        same = select(LabellingProject).where(LabellingProject.server == place, LabellingProject.number == number)
        for old in session.scalars(same).all():  # gone, and a server that was reset gave its number anew
            old.server = f"{place}~{old.id}"
        session.flush()
        project = LabellingProject(
            server=place, name=name, number=number, title=dataset.title, config_sha256=dataset.config_sha256
        )
        session.add(project)
        session.flush()
        session.expunge(project)
    return project


def _remember_config(dataset: Dataset, project: LabellingProject, page: str) -> None:
    with dataset.database.write() as session:
        session.get_one(LabellingProject, project.id).config_sha256 = _sha256(page)
    project.config_sha256 = _sha256(page)
