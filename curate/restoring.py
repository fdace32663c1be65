"""`curate db restore`: a copy of the database in place, and what it must not undo: who was forgotten stays so."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from curate import config
from curate.doctor import orphans
from curate.forget import forget
from curate.labelling import Labelling
from curate.progress import QUIET, Progress
from curate.project import Project, database_path, open_project
from curate.studio import Environment
from db import restore
from db.batches import chunks
from db.engine import Database
from db.errors import DatabaseError, StoreError
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
    path = database_path(root, config.load(root / config.FILE_NAME))
    chosen = copy or restore.newest_copy(path)
    kept = restore.restore(path, chosen)
    project = open_project(root)
    desk = Labelling(project, environment)
    forgotten = None if kept is None else _forget_again(project, kept, desk, progress)
    with project.database.read() as session:
        rows = session.execute(select(Image.sha256, Image.format).where(Image.state != ImageState.FORGOTTEN))
        lost = sum(not project.store.path(sha256, image_format).exists() for sha256, image_format in rows)
    return RestoreReport(chosen, kept, len(orphans(project, repair=False)), lost, forgotten)


def _forget_again(project: Project, kept: Path, desk: Labelling, progress: Progress) -> int | None:
    old = Database(kept)
    try:
        with old.read() as session:
            images = session.scalars(select(Image).where(Image.state == ImageState.FORGOTTEN)).all()
            closed = session.scalars(select(Candidate).where(Candidate.reason == Reason.FORGOTTEN)).all()
    except (SQLAlchemyError, DatabaseError, StoreError):
        return None
    finally:
        old.close()
    with project.database.read() as session:
        states = dict(session.execute(select(Image.sha256, Image.state)).all())
    back = [one.sha256 for one in images if states.get(one.sha256) not in {None, ImageState.FORGOTTEN}]
    with project.database.write() as session:
        _keep_out(session, [image for image in images if image.sha256 not in states], closed)
    for sha256 in back:
        forget(project, sha256, desk, progress)
    return len(back)


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
