"""`curate db restore`: a copy of the database in place, and what it must not undo: who was forgotten stays so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from curate import config
from curate.classes.adopt import adopt
from curate.doctor import orphans
from curate.forget import Wanted, forget, take_out
from curate.labelling import Labelling
from curate.progress import QUIET, Progress
from curate.project import database_path, open_project
from curate.studio import Environment
from db import restore
from db.batches import chunks
from db.engine import Database
from db.errors import ConfigError, DatabaseError, StoreError
from db.models import Candidate, Image, ImageState
from db.reasons import Reason


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What is in place now."""

    restored: Path
    kept: Path | None
    """Where the database is that was there."""
    newer: int
    """Image files that the copy does not know: they came in after it."""
    lost: int
    """Images of the copy whose files are gone."""
    forgotten: int | None
    """Images that were forgotten after the copy, and are again; None where the old database cannot tell."""


def restore_copy(root: Path, copy: Path | None, environment: Environment, progress: Progress = QUIET) -> RestoreReport:
    """Put back `copy`, or the newest that is whole. Raises DatabaseError, ConfigError and StoreError."""
    written = root / config.FILE_NAME
    path = database_path(root, config.load(written))
    chosen = copy or restore.newest_copy(path)
    back: list[str] = []
    told = False

    def fit(new: Path) -> None:
        _refuse_other_classes(new, written, chosen)

    def carry(old: Path, new: Path) -> None:
        nonlocal told
        told = _carry_forgotten(old, new, back)

    kept = restore.restore(path, chosen, fit, carry)
    project = open_project(root)
    desk = Labelling(project, environment)
    for sha256 in back:  # what lies outside of the database: files, tasks
        forget(project, sha256, desk, progress)
    with project.database.read() as session:
        rows = session.execute(select(Image.sha256, Image.format).where(Image.state != ImageState.FORGOTTEN))
        lost = sum(not project.store.path(sha256, image_format).exists() for sha256, image_format in rows)
    newer = len(orphans(project, repair=False))
    return RestoreReport(chosen, kept, newer, lost, len(back) if told else None)


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    database = Database(path)
    try:
        yield database
    finally:
        database.close()


def _refuse_other_classes(new: Path, written: Path, copy: Path) -> None:
    """The commands that could mend it would not open the project any more."""
    with _opened(new) as database:
        try:
            adopt(database, written, config.load(written))
        except ConfigError as error:
            raise ConfigError(f"{copy} was made with other classes, and was not put back: {error}") from error


def _carry_forgotten(old: Path, new: Path, back: list[str]) -> bool:
    """Forget in `new` what `old` has as forgotten; note hashes of images that it had. False where `old` is damaged."""
    with _opened(old) as database:
        try:
            with database.read() as session:
                images = session.scalars(select(Image).where(Image.state == ImageState.FORGOTTEN)).all()
                closed = session.scalars(select(Candidate).where(Candidate.reason == Reason.FORGOTTEN)).all()
        except (SQLAlchemyError, DatabaseError, StoreError):
            return False
    with _opened(new) as database, database.write() as session:
        known = {row.sha256: row for row in session.execute(select(Image.sha256, Image.id, Image.state))}
        there = [known[one.sha256] for one in images if one.sha256 in known]
        again = [row for row in there if row.state is not ImageState.FORGOTTEN]
        _keep_out(session, [image for image in images if image.sha256 not in known], closed)
        take_out(session, Wanted({row.id for row in again}, set()))
        back += [row.sha256 for row in again]
    return True


def _keep_out(session: Session, images: Sequence[Image], closed: Sequence[Candidate]) -> None:
    """Write down what the copy never had: hashes that must not come back, and addresses never to be fetched."""
    session.add_all(Image(**_values(image, "id", "group_id", "collected_for_id")) for image in images)
    for some in chunks(closed):
        rows = session.scalars(select(Candidate).where(Candidate.address.in_([one.address for one in some])))
        known = {row.address: row for row in rows}
        for candidate in some:
            if (row := known.get(candidate.address)) is None:
                session.add(Candidate(**_values(candidate, "id", "image_id", "collected_for_id")))
            elif row.image_id is None:
                row.state, row.reason, row.detail = candidate.state, candidate.reason, candidate.detail


def _values(row: Image | Candidate, *without: str) -> dict[str, object]:
    names = (column.key for column in row.__table__.columns)
    return {name: getattr(row, name) for name in names if name not in without}
