"""Putting back a copy of the database, without its write-ahead log: SQLite would replay what it finds on the copy."""

import contextlib
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from db import migrate
from db.engine import told_plainly
from db.errors import DatabaseError
from db.faults import fault
from db.files import sweep, sync, sync_folder, write_atomically

_PIECE = 1 << 20
_MOMENT = r"-\d{8}T\d{12}Z\.db"
"""How the name of a copy ends."""

Fit = Callable[[Path], None]
"""Is given the database that is to be put in place."""
Carry = Callable[[Path, Path], None]
"""Is given the one that was there, and that."""


def newest_copy(path: Path) -> Path:
    """Find the newest copy of the database at `path` that is whole. Raises DatabaseError where there is none."""
    folder = path.parent / "backups"
    mine = re.compile(re.escape(path.stem) + _MOMENT)  # beside it may lie copies of `curate-old.db`
    for copy in sorted((file for file in folder.glob("*.db") if mine.fullmatch(file.name)), reverse=True):
        with contextlib.suppress(DatabaseError):
            _refuse_damaged(copy)
            return copy
    raise DatabaseError(f"no copy of the database in {folder} is whole; name one: `curate db restore FILE`")


def restore(path: Path, copy: Path, fit: Fit = lambda _: None, carry: Carry = lambda *_: None) -> Path | None:
    """Put a copy of `copy` in the place of the database at `path`, and give where the one that was there is now.

    `fit` is shown the new one, at this program's schema: what it raises stops all before anything is changed. `carry`
    brings over from the old one what must not be lost, while the old one still is in its place.

    Killed at any moment, one of the two is there. Raises DatabaseError when `copy` is damaged, not ours or newer than
    this program, or when another process works on the database, and StoreError.
    """
    _refuse_damaged(copy)
    with FileLock(path.with_name(f".{path.name}.upgrade.lock")):
        _refuse_in_use(path)
        sweep(path.parent)
        with migrate.copied(copy, path) as temporary:
            migrate.bring_up(temporary)
            fit(temporary)
            kept = _set_aside(path)
            if kept is not None:
                carry(kept, temporary)
            fault("restore.set_aside")
            _work_in_log(temporary)
            temporary.replace(path)
            sync_folder(path.parent)
    return kept


def _work_in_log(path: Path) -> None:
    """Let all that was written stand in the file itself: its log would not come along."""
    with told_plainly(path), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    sync(path)


def _refuse_damaged(copy: Path) -> None:
    if migrate.standing(copy, copy=True) is migrate.Standing.MISSING:
        raise DatabaseError(f"there is no file {copy}")
    if found := migrate.problems(copy):
        raise DatabaseError(f"{copy} is damaged itself ({found[0]}); name another copy")


def _refuse_in_use(path: Path) -> None:
    """A process that has the file open would write on into the one that is set aside, and lose what it writes."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # which only the one that has it alone may do
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise DatabaseError(f"another process works on {path}; end it (crawl, watch, loop, …) first") from None
    except sqlite3.DatabaseError:
        return  # damaged: that is what is being mended


def _set_aside(path: Path) -> Path | None:
    """Keep what is there, and its log, under another name. The file itself stays, so that there is always one."""
    kept = migrate.set_aside_as(path)
    there = path.exists()
    if there:
        with path.open("rb") as file:
            write_atomically(kept, iter(lambda: file.read(_PIECE), b""))
    migrate.set_log_aside(path, kept)
    return kept if there else None
