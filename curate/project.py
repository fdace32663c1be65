"""A project: the folder a user has, with its settings, database, images and runs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import config, edit
from curate.classes.adopt import adopt, finish
from db import migrate
from db.answers import Rule
from db.engine import Database
from db.errors import ConfigError, DatabaseError, DatasetError, StoreError
from db.files import write_atomically
from db.labels import settle
from db.migrate import Standing
from db.models import Class, Label
from db.policy import policy_in_force, put_in_force
from db.store import ImageStore


@dataclass(frozen=True)
class Project:
    """Everything a stage works on."""

    root: Path
    settings: config.Settings
    database: Database
    store: ImageStore

    @property
    def runs(self) -> Path:
        """Folder of training runs, one folder each."""
        return self.root / "runs"

    @property
    def private(self) -> Path:
        """Folder for what is not the user's: caches, logs, the labelling server's data and its token."""
        return self.root / ".curate"

    def lock(self, name: str) -> FileLock:
        """Let only one process at a time do `name` here. A dead process holds no lock."""
        self.private.mkdir(mode=0o700, exist_ok=True)
        return FileLock(self.private / f"{name}.lock")

    def classes(self, session: Session) -> dict[str, int]:
        """Ids of the classes by name, in the order of `curate.toml`."""
        present = select(Class).where(Class.retired_at.is_(None)).order_by(Class.position)
        return {row.name: row.id for row in session.scalars(present)}

    def class_named(self, name: str) -> str:
        """Find a class by its name in any case. Raises DatasetError."""
        key = config.class_key(name)
        for known in self.settings.classes:
            if config.class_key(known.name) == key:
                return known.name
        raise DatasetError(f"no class {name!r}; there is: {', '.join(c.name for c in self.settings.classes)}")


def create(folder: Path, preset: str | None, classes: Sequence[str]) -> Project:
    """Make a new project in `folder`. Raises ConfigError when there is one already."""
    file = folder / config.FILE_NAME
    if file.exists():
        raise ConfigError(f"{file} exists already; change it with `curate config`, or choose another folder")
    # A folder's name may be any bytes; the name of a dataset is text.
    name = os.fsencode(folder.resolve().name).decode("utf-8", "replace")
    text = edit.draft(preset, classes, name)
    # The settings come last: a folder counts as a project only once all of it is there.
    migrate.upgrade(folder / "curate.db")
    (folder / "images").mkdir(exist_ok=True)
    write_atomically(file, text.encode())
    return open_project(folder)


def find(start: Path) -> Path:
    """Find the project folder at or above `start`. Raises ConfigError."""
    for folder in (start, *start.parents):
        if (folder / config.FILE_NAME).is_file():
            return folder
    raise ConfigError(
        f"no {config.FILE_NAME} in {start} or above it; make a project with `curate init`, or say --project DIR"
    )


def open_project(folder: Path) -> Project:
    """Open a project, its database brought to this program's schema first.

    Raises ConfigError, DatabaseError or StoreError before anything is touched.
    """
    settings = config.load(folder / config.FILE_NAME)
    path = database_path(folder, settings)
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{folder} is read-only; make it writable, or copy the project elsewhere")
    if migrate.standing(path) is Standing.MISSING:
        ways = "put it back, or a copy of it (`curate db restore`), or make an empty one (`curate db upgrade`)"
        raise DatabaseError(f"{path} is missing; {ways}")
    migrate.upgrade(path)
    database = Database(path)
    settings = finish(database, folder / config.FILE_NAME, settings)
    settings = adopt(database, folder / config.FILE_NAME, settings)
    project = Project(folder, settings, database, ImageStore(folder / "images"))
    _adopt_policy(project)
    return project


def database_path(folder: Path, settings: config.Settings) -> Path:
    """Where the database lies."""
    return folder / settings.database.url.removeprefix("sqlite:///")


def _adopt_policy(project: Project) -> None:
    """Derive all labels anew if `curate.toml` names another policy than they rest on."""
    policy = project.settings.labelling.label_policy()
    with project.database.read() as session:
        if policy_in_force(session) == policy:
            return
    with project.database.write() as session:
        put_in_force(session, policy)
        settle(session, session.scalars(select(Label.image_id)).all())
    if policy.rule is Rule.CROWDLAB:
        from curate.people import crowdlab  # noqa: PLC0415 - it imports this module

        crowdlab.settle(project)
