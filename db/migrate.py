"""Bring a database to this program's schema, with a backup first, or refuse it without touching it."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from db.engine import make_engine, plain, told_plainly
from db.errors import DatabaseError, StoreError
from db.faults import fault
from db.files import TEMPORARY, sweep, sync, sync_folder

# Alembic is loaded where it works: every command looks at its database, few bring it to another schema.
if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_QUICK_CHECK_UP_TO = 64 * 2**20
"""Bytes. A full check reads the whole file (about 0.5 s a gigabyte), so larger files get it in `db check` only."""
_WAIT_SECONDS = 60.0
"""For others that keep the database locked: they write for moments."""
_ANOTHER = "Name another copy: `curate db restore FILE`."
_BACK = "`curate db restore` puts back the newest copy there is."


class Standing(Enum):
    """How a database file relates to this program."""

    MISSING = auto()
    OLD = auto()
    CURRENT = auto()


def standing(path: Path, *, copy: bool = False) -> Standing:
    """Look at a database, or at a `copy` that is to be put back, without writing to it.

    Raises DatabaseError when it is not SQLite, corrupt, not ours, or newer than this program, and StoreError.
    """
    if not path.exists():
        return Standing.MISSING
    wrong = errno.EISDIR if path.is_dir() else 0 if os.access(path, os.R_OK) else errno.EACCES
    if wrong:
        advice = _ANOTHER if copy else "Check [database] url in curate.toml."
        raise DatabaseError(f"{path} cannot be read: {os.strerror(wrong)}. {advice}")
    # By SQLite alone: to open the file ourselves, and close it, would give up the locks that a connection of this
    # process has on it (fcntl(2)).
    advice = _ANOTHER if copy else f"Point [database] url in curate.toml elsewhere; or, if it was overwritten, {_BACK}"
    no_database = DatabaseError(f"{path} is no SQLite database. {advice}")
    if not path.stat().st_size:
        raise no_database
    try:
        revision = _revision(path)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_NOTADB:
            raise no_database from None
        if code == sqlite3.SQLITE_BUSY:
            raise DatabaseError(
                f"another program keeps {path} locked; run the command again when it is done."
            ) from None
        # On a full disk there is no room for the index of the log, and no database can be read: none is damaged.
        if isinstance(told := plain(path, str(error)), StoreError):
            raise told from error
        raise DatabaseError(f"{path} is damaged ({error}). {_ANOTHER if copy else _BACK}") from error
    if revision is None:
        raise DatabaseError(
            f"{path} belongs to another program: it carries no schema version of ours. It was left alone."
        )
    if revision not in _revisions():
        raise DatabaseError(
            f"{path} was written by a newer curate (schema {revision}). Update curate; it was left alone."
        )
    return Standing.CURRENT if revision == head() else Standing.OLD


def _revision(path: Path) -> str | None:
    with _read_only(path) as connection:
        # Reading the schema finds a damaged first page; the quick check the others.
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if path.stat().st_size <= _QUICK_CHECK_UP_TO:
            check(connection)
        if "alembic_version" not in tables:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


@contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    # In a folder that nobody may write to SQLite can make no index of a log, and there is none to read.
    still = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    how = f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if still else "")
    with closing(sqlite3.connect(how, uri=True, timeout=_WAIT_SECONDS)) as connection:
        yield connection


def check(connection: sqlite3.Connection) -> None:
    """Read every page. Raises sqlite3.DatabaseError with the first thing that is wrong."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def problems(path: Path) -> list[str]:
    """Everything wrong inside the file: damaged pages, rows that point nowhere. Reads all of it, writes nothing."""
    with _read_only(path) as connection:
        try:
            found = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
            for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
                found.append(f"{table} row {row} points to a row of {parent} that is not there")
        except sqlite3.DatabaseError as error:
            return [str(error)]
    return found


def head() -> str:
    """Newest revision this program knows."""
    return _revisions()[-1]


def _revisions() -> list[str]:
    """Revisions this program knows, oldest first: a migration's file begins with its number."""
    return sorted(path.name.partition("_")[0] for path in (_folder() / "versions").glob("[0-9]*_*.py"))


def upgrade(path: Path) -> Path | None:
    """Create the database, or bring it to this program's schema, and give the backup made first, if one was.

    Of several processes one does it while the others wait. A migration that fails or is killed leaves the old schema.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.upgrade.lock")):
        before = standing(path)
        if before is Standing.CURRENT:
            return None
        if before is Standing.MISSING:
            _make(path)
            return None
        saved = backup(path)
        with told_plainly(path):
            _run(path)
        return saved


def bring_up(path: Path) -> None:
    """Bring a database that nobody else has, such as a copy that is to be put back, to this program's schema."""
    if standing(path) is Standing.OLD:
        with told_plainly(path):
            _run(path)


def _make(path: Path) -> None:
    """Make an empty database beside its place: killed in the middle, nothing is left there that looks like one."""
    sweep(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with told_plainly(path):
            _run(temporary)
        set_log_aside(path, set_aside_as(path))
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        for left in path.parent.glob(f"{temporary.name}*"):  # its write-ahead log, too, where it could not be closed
            left.unlink(missing_ok=True)


def set_aside_as(path: Path) -> Path:
    """Where what was at `path` is kept when something else takes its place."""
    return path.parent / "backups" / f"replaced-{path.stem}-{_moment()}.db"


def set_log_aside(path: Path, kept: Path) -> None:
    """Move the log that a kill left at `path` beside `kept`: SQLite would replay it on whatever file has the name next.

    Also where the database itself is gone.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        kept.parent.mkdir(exist_ok=True)
        log.replace(kept.with_name(f"{kept.name}-wal"))
        sync_folder(kept.parent)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)  # an index of the log, made anew from it
    sync_folder(path.parent)


def _moment() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def _run(path: Path) -> None:
    from alembic import command  # noqa: PLC0415 - as above

    # Foreign keys off: with them on, rebuilding a parent table deletes every child row by ON DELETE CASCADE, and the
    # switch has no effect inside a transaction. The check before the commit makes up for it.
    engine = make_engine(path, foreign_keys=False).execution_options(begin="IMMEDIATE")
    try:
        with engine.begin() as connection:
            settings = config()
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise DatabaseError(
                    f"upgrading {path} would leave {len(broken)} rows without their parent; it was left as it was."
                )
            fault("migration.before_commit")
    finally:
        engine.dispose()


def backup(path: Path) -> Path:
    """Copy the database as it stands, also while others write, into `backups/` beside it."""
    target = path.parent / "backups" / f"{path.stem}-{_moment()}.db"
    target.parent.mkdir(exist_ok=True)
    with copied(path, target) as temporary:
        temporary.replace(target)
        sync_folder(target.parent)
    return target


@contextmanager
def copied(path: Path, target: Path) -> Iterator[Path]:
    """Give a whole copy of a database under a passing name, where it need only be renamed to be `target`."""
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name}")
    try:
        with told_plainly(target), _read_only(path) as source, closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # else whoever reads it leaves a log and its index beside it
        sync(temporary)
        yield temporary
    finally:
        for left in target.parent.glob(f"{temporary.name}*"):
            left.unlink(missing_ok=True)


def scripts() -> "ScriptDirectory":
    """Give the migrations."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    return ScriptDirectory.from_config(config())


def config() -> "Config":
    """Give Alembic's configuration: there is no alembic.ini."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    found = Config()
    found.set_main_option("script_location", str(_folder()))
    return found


def _folder() -> Path:
    """Find the migrations: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    packaged = here / "migrations"
    return packaged if packaged.is_dir() else here.parent / "alembic"
