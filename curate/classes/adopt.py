"""Whatever is run next makes database and `curate.toml` agree: after a kill, and after a change by hand."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from curate import config, edit
from curate.classes.change import Change
from curate.classes.rows import add
from curate.classes.settings import rewritten
from curate.config import class_key
from db.engine import Database
from db.errors import ConfigError
from db.faults import fault
from db.labels import settle
from db.models import Annotation, AnnotationRevision, Candidate, Class, ClassChange, Image, Sighting
from db.models.base import now


def finish(database: Database, path: Path, settings: config.Settings) -> config.Settings:
    """Let `curate.toml` follow a change that the database has made already; give the settings as they are then."""
    with database.read() as session:
        due = list(
            session.scalars(select(ClassChange).where(ClassChange.settings_at.is_(None)).order_by(ClassChange.id))
        )
    for made in due:
        settings = config.load(path)  # another process may have come first
        # Only the list that was changed: what a person wrote since is adopted, or refused, as any other hand's work.
        if [c.name for c in settings.classes] == made.before:
            text = rewritten(config.read(path), path, Change(made.kind, tuple(made.names), made.into))
            edit.save(path, text)
            settings = config.load(path)
        fault("classes.settings")
        with database.write() as session:
            session.get_one(ClassChange, made.id).settings_at = now()
    return settings


def adopt(database: Database, path: Path, settings: config.Settings) -> config.Settings:
    """Make the table of classes follow what a hand wrote; give the settings that it follows.

    Raises ConfigError where that would lose labels.
    """
    wanted = [c.name for c in settings.classes]
    with database.read() as session:
        present = select(Class).where(Class.retired_at.is_(None)).order_by(Class.position)
        if [row.name for row in session.scalars(present)] == wanted:
            return settings
    with database.write() as session:
        unfinished = session.scalar(select(ClassChange.id).where(ClassChange.settings_at.is_(None)).limit(1))
        read_again = config.load(path)
        if unfinished is None and [c.name for c in read_again.classes] == wanted:
            _follow_hand(session, wanted)
            return settings
    # Not a hand: another process has changed the list since we read it, and what it left would be undone.
    return adopt(database, path, finish(database, path, read_again))


def _follow_hand(session: Session, wanted: Sequence[str]) -> None:
    present = select(Class).where(Class.retired_at.is_(None))
    known = {row.key: row for row in session.scalars(present)}
    for row in [known.pop(key) for key in list(known) if key not in map(class_key, wanted)]:
        _leave(session, row)
    back = [image for name in wanted if class_key(name) not in known for image in add(session, name)]
    rows = {row.key: row for row in session.scalars(present)}
    for position, name in enumerate(wanted):
        rows[class_key(name)].name, rows[class_key(name)].position = name, position
    session.flush()
    settle(session, back)
    if back:
        from curate.quality import apply  # noqa: PLC0415 - it imports `curate.project`, which imports this module

        apply.settle(session, back)  # what has a label is in use, whatever a check says


def _leave(session: Session, row: Class) -> None:
    """Let a class go that nothing counts as. Where old answers say it, its name stays on record."""
    for column in (Annotation.class_id, Image.collected_for_id, Candidate.collected_for_id, Sighting.class_id):
        uses = _uses(session, column == row.id)
        if uses:
            raise ConfigError(
                f"class {row.name!r} is missing from {config.FILE_NAME}, but {uses} rows of"
                f" {column.class_.__tablename__} name it; put it back, and say what becomes of it with"
                " `curate classes rename`, `merge` or `remove`"
            )
    if _uses(session, AnnotationRevision.class_id == row.id) or _uses(session, Class.merged_into_id == row.id):
        row.retired_at = now()
    else:
        session.delete(row)
    session.flush()


def _uses(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(condition)) or 0
