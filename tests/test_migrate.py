"""The schema: made, upgraded with a backup, refused untouched; and never other than the models say."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from textwrap import dedent

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from db import migrate
from db.engine import Database, make_engine
from db.errors import DatabaseError
from db.migrate import Standing
from db.models import Base, Candidate, Class


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of this schema, with a parent and its child."""
    path = tmp_path / "curate.db"
    migrate.upgrade(path)
    opened = Database(path)
    with opened.write() as session:
        session.add(Class(id=1, name="A", key="a", position=0))
        session.flush()
        session.add(Candidate(address="http://x/1.jpg", collected_for_id=1))
    opened.close()
    return path


def digest(path: Path) -> bytes:
    """All of a file."""
    return path.read_bytes()


def test_models_and_migrations_agree(tmp_path: Path) -> None:
    """A migrated database has exactly the tables, columns and indices that the models declare."""
    path = tmp_path / "curate.db"
    migrate.upgrade(path)
    with make_engine(path).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []


def test_there_is_one_head() -> None:
    """Two migrations never claim to be the newest, and their files' names tell their order."""
    scripts = ScriptDirectory(str(migrate._folder()))
    assert [script.revision for script in scripts.walk_revisions()] == migrate._revisions()[::-1]
    assert scripts.get_heads() == [migrate.head()]


def test_the_schema_suits_postgresql() -> None:
    """Every table and index compiles for PostgreSQL."""
    for table in Base.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def test_a_current_database_is_left_alone(database: Path) -> None:
    """Upgrading twice makes no second backup."""
    assert migrate.standing(database) is Standing.CURRENT
    assert migrate.upgrade(database) is None
    assert not (database.parent / "backups").exists()


@pytest.mark.parametrize("what", ["text", "cut", "scrambled", "foreign", "newer", "empty"])
def test_what_is_not_ours_is_refused_untouched(database: Path, what: str) -> None:
    """A database that is damaged, of another program, or of a newer version is told as that, and not written to."""
    words = {"text": "no SQLite", "foreign": "another program", "newer": "newer", "empty": "no SQLite"}.get(
        what, "damaged"
    )
    data = digest(database)
    if what == "text":
        database.write_text("once upon a time, " * 500)
    elif what == "empty":
        database.write_bytes(b"")
    elif what == "cut":
        database.write_bytes(data[: len(data) // 2])
    elif what == "scrambled":
        database.write_bytes(data[:8192] + bytes(255 - b for b in data[8192:16384]) + data[16384:])
    elif what == "foreign":
        database.unlink()
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
    else:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = digest(database)
    for attempt in (migrate.standing, migrate.upgrade):
        with pytest.raises(DatabaseError, match=words):
            attempt(database)
    assert digest(database) == before


def with_newer_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let this program know one migration more, whose upgrade() is `body`."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._folder(), folder)
    script = f"""
        import os, signal, time
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision, branch_labels, depends_on = "9000", {migrate.head()!r}, None, None

        def upgrade():
            {body}
    """
    (folder / "versions" / "9000_later.py").write_text(dedent(script))
    monkeypatch.setattr(migrate, "_folder", lambda: folder)


REBUILD_PARENT = """with op.batch_alter_table('classes', recreate='always') as batch:
                batch.add_column(sa.Column('colour', sa.String()))"""


def rows(path: Path) -> tuple[int, int]:
    """Parents and children."""
    with closing(sqlite3.connect(path)) as connection:
        (parents,) = connection.execute("SELECT count(*) FROM classes").fetchone()
        (children,) = connection.execute("SELECT count(*) FROM candidates WHERE collected_for_id = 1").fetchone()
    return parents, children


def test_an_upgrade_backs_up_and_keeps_children(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebuilding a parent table keeps every child row; the database as it was lies in backups/."""
    with_newer_migration(tmp_path, monkeypatch, REBUILD_PARENT)
    saved = migrate.upgrade(database)
    assert migrate.standing(database) is Standing.CURRENT
    assert rows(database) == (1, 1)
    assert saved is not None
    assert saved.parent.name == "backups"
    assert rows(saved) == (1, 1)
    with closing(sqlite3.connect(saved)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone()[0] != "9000"


def fill(path: Path) -> dict[str, int]:
    """Put two rows into every table of a database, of pairs one; give the counts."""
    samples: dict[type, Callable[[int], object]] = {
        int: lambda n: n,
        float: float,
        bool: lambda _: True,
        str: str,
        bytes: lambda n: bytes([n]),
        object: lambda _: {},  # JSON
        datetime: lambda n: datetime(2026, 1, n),  # noqa: DTZ001 - as they are stored
    }
    engine = make_engine(path)
    tables = MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            for n in (2,) if table.name == "duplicate_pairs" else (1, 2):
                row = {c.name: samples[c.type.python_type](n) for c in table.columns}
                if "conflict" in row:
                    row |= {"conflict": False} | ({"other": None} if "other" in row else {})  # there is a class
                if table.name == "duplicate_pairs":
                    row |= {"low_id": n - 1, "high_id": n}
                connection.execute(table.insert().values(row))
    engine.dispose()
    return counts(path)


def counts(path: Path) -> dict[str, int]:
    """Rows of every table."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608 - our own names


def older_revisions() -> list[str]:
    """Every schema that a user's database may still have."""
    return [script.revision for script in ScriptDirectory(str(migrate._folder())).walk_revisions()][:0:-1]


@pytest.mark.parametrize("revision", older_revisions())
def test_a_filled_database_of_any_age_is_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    """With rows in every table, as a user's database has them, each schema there was becomes the present one."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._folder(), folder)
    for script in (folder / "versions").glob("*.py"):
        if script.name[:4] > revision:
            script.unlink()
    path = tmp_path / "curate.db"
    with monkeypatch.context() as then:
        then.setattr(migrate, "_folder", lambda: folder)
        migrate.upgrade(path)
    before = fill(path)
    migrate.upgrade(path)
    assert migrate.standing(path) is Standing.CURRENT
    assert migrate.problems(path) == []
    after = counts(path)
    assert {name: after[name] for name in before} == before


def _upgrade(path: Path) -> None:
    migrate.upgrade(path)


def test_a_migration_killed_midway_leaves_the_old_schema(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL in the middle of a rebuild the old schema stands, with all its rows, and the upgrade can be run."""
    kill = f"""if not os.path.exists({str(tmp_path / "again")!r}):
                op.execute("DELETE FROM candidates")
                os.kill(os.getpid(), signal.SIGKILL)
            {REBUILD_PARENT}"""  # noqa: S608 - a program, not a query
    with_newer_migration(tmp_path, monkeypatch, kill)
    process = multiprocessing.get_context("fork").Process(target=_upgrade, args=(database,))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert migrate.standing(database) is Standing.OLD
    assert rows(database) == (1, 1)
    assert migrate.problems(database) == []
    (tmp_path / "again").touch()
    migrate.upgrade(database)
    assert migrate.standing(database) is Standing.CURRENT
    assert rows(database) == (1, 1)


def test_a_failing_migration_leaves_the_old_schema(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in a migration, and rows that it would orphan, undo all of it."""
    with_newer_migration(tmp_path, monkeypatch, 'op.execute("DELETE FROM classes")')
    with pytest.raises(DatabaseError, match="1 rows without their parent"):
        migrate.upgrade(database)
    assert migrate.standing(database) is Standing.OLD
    assert rows(database) == (1, 1)


def test_of_two_processes_one_upgrades(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits and finds the work done: one backup, one upgrade."""
    with_newer_migration(tmp_path, monkeypatch, f"time.sleep(0.5)\n            {REBUILD_PARENT}")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_upgrade, args=(database,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list((database.parent / "backups").iterdir())) == 1
    assert migrate.standing(database) is Standing.CURRENT


def test_a_backup_is_taken_while_others_write(database: Path) -> None:
    """A backup is a whole database, taken beside an open writer."""
    opened = Database(database)
    with opened.write() as session:
        session.add(Class(name="B", key="b", position=1))
        session.flush()
        saved = migrate.backup(database)
    opened.close()
    assert migrate.standing(saved) is Standing.CURRENT
    assert rows(saved) == (1, 1)


def test_a_look_leaves_the_locks_of_this_process_alone(database: Path) -> None:
    """While a transaction is open here, another process cannot write, however often the database is looked at."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # whose locks are those of the file itself
        connection.execute("BEGIN IMMEDIATE")
        assert migrate.standing(database) is Standing.CURRENT
        script = f"import sqlite3; sqlite3.connect({str(database)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        tried = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "locked" in tried.stderr
        connection.execute("ROLLBACK")


def test_a_database_that_another_program_keeps_locked_is_not_called_damaged(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is sent to the backups for that."""
    monkeypatch.setattr(migrate, "_WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match=r"another program keeps .* locked") as told:
            migrate.standing(database)
    assert "backup" not in str(told.value)
