"""A change of the classes as a whole: database first, then `curate.toml`, then Label Studio.

The database decides, in one transaction that also writes down what `curate.toml` has yet to follow. Killed before it,
nothing has changed; killed after it, whatever is run next finishes `curate.toml` before it does anything else.
"""

from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import config
from curate.classes import rows
from curate.classes.adopt import finish
from curate.classes.change import Change, checked
from curate.classes.settings import rewritten
from curate.project import Project
from curate.quality import apply
from curate.status import status
from db.classes import fates
from db.errors import DatasetError
from db.faults import fault
from db.models import Class, ClassChange


@dataclass(frozen=True, slots=True)
class ClassStanding:
    """One class: how many images it has, how many of them are labelled, its key, its queries, and former names."""

    images: int
    labelled: int
    hotkey: str | None
    queries: list[str]
    former: list[str]
    """Names that answers may still say, and that are understood as this one."""


@dataclass(frozen=True, slots=True)
class Changed:
    """How many answers count as another class now, and how many for nothing any more."""

    moved: int
    dropped: int


def change_classes(project: Project, wanted: Change, *, drop_labels: bool = False) -> tuple[Project, Changed]:
    """Change the classes; give the project as it is then. Label Studio is left to be told.

    Raises ConfigError or DatasetError, with nothing changed, for what cannot be.
    """
    path = project.root / config.FILE_NAME
    with project.lock("labelling"):  # no pull in the middle of it
        settings = config.load(path)
        change = _checked(project, wanted, [c.name for c in settings.classes])
        rewritten(config.read(path), path, change)  # what cannot be written is told before anything is changed
        with project.database.write() as session:
            before = list(project.classes(session))
            done = rows.follow(session, change, drop_labels=drop_labels)
            apply.settle(session, done.images)  # what has a label is in use, whatever a check says
            made = ClassChange(
                kind=change.kind,
                names=list(change.names),
                into=change.into,
                before=before,
                after=change.after(before),
            )
            session.add(made)
        fault("classes.changed")
        settings = finish(project.database, path, settings)
    return replace(project, settings=settings), Changed(done.moved, done.dropped)


def _checked(project: Project, wanted: Change, before: list[str]) -> Change:
    try:
        return checked(wanted, before)
    except DatasetError as error:
        with project.database.read() as session:
            raise DatasetError(f"{error}{_what_became(session, wanted, before)}") from None


def _what_became(session: Session, wanted: Change, before: list[str]) -> str:
    """Say what became of a name that is none any more."""
    known = {config.class_key(name) for name in before}
    names = {row.id: row.name for row in session.scalars(select(Class))}
    given = [config.class_key(name) for name in (*wanted.names, wanted.into) if config.class_key(name) not in known]
    query = select(Class).where(Class.retired_at.is_not(None), Class.key.in_(given)).order_by(Class.id.desc())
    row = session.scalars(query).first()
    if row is None:
        return ""
    into = names.get(row.merged_into_id or 0)
    if into is None:
        return f" ({row.name!r} was removed)"
    return f" ({row.name!r} is called {into!r} now)" if row.renamed else f" ({row.name!r} was merged into {into!r})"


def standing(project: Project) -> dict[str, ClassStanding]:
    """How each class stands."""
    counts, keys = status(project).classes, project.settings.hotkeys()
    with project.database.read() as session:
        former = _former(session)
        ids = project.classes(session)
    return {
        name: ClassStanding(
            images=counts[name].images,
            labelled=counts[name].labelled,
            hotkey=keys.get(name),
            queries=list(project.settings.queries(name)),
            former=former.get(ids[name], []),
        )
        for name in ids
    }


def _former(session: Session) -> dict[int, list[str]]:
    names = {row.id: row.name for row in session.scalars(select(Class).order_by(Class.id))}
    found: dict[int, list[str]] = {}
    for old, fate in fates(session).items():
        if fate is not None and names[old] != names[fate]:
            found.setdefault(fate, []).append(names[old])
    return found
