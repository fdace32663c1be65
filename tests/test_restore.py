"""`curate db restore`: a copy of the database in the place of a damaged one."""

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import run

import pytest
from sqlalchemy import select

from curate.doctor import examine
from curate.ingest.folder import import_folder
from curate.project import Project, open_project
from db import migrate, restore
from db.errors import DatabaseError
from db.migrate import Standing
from db.models import Image
from tests.conftest import Cli
from tests.pictures import write_folder
from tests.test_kill import KILLED

LEAVE_A_LOG = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("UPDATE images SET width = width + 1")
connection.commit()
os._exit(0)  # as a kill does: the log is not worked in
"""


@pytest.fixture
def filled(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project of which there is a copy, with three pictures that came after it, and a log that a kill left."""
    project = make_project("Red", "Green")
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(2)}), labels=True)
    migrate.backup(project.database.path)
    import_folder(project, write_folder(tmp_path / "in", {"Green": range(2, 5)}), labels=True)
    project.database.close()
    run([sys.executable, "-c", LEAVE_A_LOG, str(project.database.path)], check=True)
    assert log(project).stat().st_size > 0
    return project


def log(project: Project) -> Path:
    return project.database.path.with_name("curate.db-wal")


def images(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT count(*) FROM images").fetchone()
    return int(found)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 3 * 4096] = bytes(2 * 4096)
    path.write_bytes(data)


def test_the_copy_is_what_was_copied_though_a_kill_left_a_log(cli: Cli, filled: Project) -> None:
    """SQLite finds no log to replay on it; what was there is kept, its log with it; nothing that came since is lost."""
    found = cli("db", "restore", "--json", cwd=filled.root, check=True).json
    assert found["images"] == 3
    assert images(filled.database.path) == 2
    assert migrate.problems(filled.database.path) == []
    assert images(Path(found["kept"])) == 5
    problems = cli("doctor", "--json", cwd=filled.root).json["problems"]
    assert [(one["kind"], "`curate import images`" in one["advice"]) for one in problems] == [("orphan", True)] * 3
    cli("import", "images", cwd=filled.root, check=True)
    assert examine(open_project(filled.root), repair=False) == []
    assert images(filled.database.path) == 5


def test_the_newest_copy_that_is_whole_is_taken(cli: Cli, filled: Project) -> None:
    """A damaged database is told with what to do; a copy that is damaged too is passed over, and refused if named."""
    damaged = migrate.backup(filled.database.path)
    damage(damaged)
    damage(filled.database.path)
    log(filled).unlink()
    told = cli("status", cwd=filled.root)
    assert (told.code, "`curate db restore`" in told.err) == (2, True)
    refused = cli("db", "restore", damaged, cwd=filled.root)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert cli("db", "restore", "--json", cwd=filled.root, check=True).json["restored"] != str(damaged)
    assert images(filled.database.path) == 2


def test_a_database_that_is_gone_can_be_put_back(cli: Cli, filled: Project) -> None:
    """There is nothing to keep then, and nobody knows what was forgotten since."""
    for path in filled.root.glob("curate.db*"):
        path.unlink()
    assert "`curate db restore`" in cli("status", cwd=filled.root).err
    found = cli("db", "restore", "--json", cwd=filled.root, check=True).json
    assert (found["kept"], found["forgotten"]) == (None, None)
    assert images(filled.database.path) == 2


def test_the_log_of_a_database_that_is_gone_is_not_replayed(cli: Cli, filled: Project) -> None:
    """SQLite would write its pages over those of the copy. It is kept beside where the database would be."""
    left = log(filled).read_bytes()
    filled.database.path.unlink()
    cli("db", "restore", cwd=filled.root, check=True)
    assert images(filled.database.path) == 2
    with closing(sqlite3.connect(filled.database.path)) as connection:
        (width,) = connection.execute("SELECT max(width) FROM images").fetchone()
    assert (width, migrate.problems(filled.database.path)) == (64, [])
    (kept,) = filled.root.glob("backups/replaced-curate-*-wal")
    assert kept.read_bytes() == left


def test_nor_on_an_empty_database(cli: Cli, filled: Project) -> None:
    """One that is made where the old one is gone stays empty, and whole."""
    filled.database.path.unlink()
    cli("db", "upgrade", cwd=filled.root, check=True)
    assert (images(filled.database.path), migrate.problems(filled.database.path)) == (0, [])


def test_copies_of_a_neighbour_are_not_taken(filled: Project) -> None:
    """Several databases may lie in one folder, one's name beginning as the other's."""
    (mine,) = filled.root.glob("backups/curate-*.db")
    later = mine.with_name(mine.name.replace("curate-", "curate-old-"))
    later.write_bytes(mine.read_bytes())
    assert restore.newest_copy(filled.database.path) == mine
    assert restore.newest_copy(filled.root / "curate-old.db") == later


def test_a_copy_may_lie_where_nobody_can_write(
    filled: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disc or in a snapshot: it is one file, and reading it leaves nothing beside it."""
    (copy,) = filled.root.glob("backups/curate-*.db")
    old = tmp_path / "disc" / "of-an-earlier-program.db"
    old.parent.mkdir()
    with closing(sqlite3.connect(copy)) as connection, closing(sqlite3.connect(old)) as written:
        connection.backup(written)
        written.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != old.parent or mode != os.W_OK)
    for file in (copy, old):
        before = sorted(file.parent.iterdir())
        assert (migrate.standing(file), migrate.problems(file)) == (Standing.CURRENT, [])
        assert sorted(file.parent.iterdir()) == before


def test_without_a_copy_nothing_is_touched(cli: Cli, project: Project, tmp_path: Path) -> None:
    """Nor for a file that is no database of ours."""
    before = project.database.path.read_bytes()
    assert "name one" in cli("db", "restore", cwd=project.root).err
    (tmp_path / "notes.txt").write_text("mine")
    for other in (tmp_path / "notes.txt", tmp_path / "nowhere.db", tmp_path):
        ran = cli("db", "restore", other, cwd=project.root)
        assert (ran.code, "curate.toml" in ran.err) == (2, False)
    assert project.database.path.read_bytes() == before


def test_a_killed_restore_leaves_a_database(cli: Cli, filled: Project) -> None:
    """The old one or the new one; run again, it is the new one."""
    assert cli("db", "restore", cwd=filled.root, env={"CURATE_FAULT": "restore.set_aside"}).code == KILLED
    assert migrate.standing(filled.database.path) is Standing.CURRENT
    cli("db", "restore", cwd=filled.root, check=True)
    assert images(filled.database.path) == 2


def test_what_was_forgotten_after_the_copy_stays_so(cli: Cli, filled: Project, tmp_path: Path) -> None:
    """An image that the copy has, one that came after it, and an address that nobody had seen."""
    address = "https://museum.example/never.jpg"
    with filled.database.read() as session:
        hashes = {row.id: row.sha256 for row in session.execute(select(Image.id, Image.sha256))}
    filled.database.close()
    for given in ("1", "5", address):
        cli("forget", given, cwd=filled.root, check=True)
    found = cli("db", "restore", "--json", cwd=filled.root, check=True).json
    assert (found["forgotten"], found["images"], found["lost"]) == (1, 2, 0)
    again = cli("import", tmp_path / "in", "--json", cwd=filled.root).json
    assert again["failed"] == {"forgotten": 2}
    names = {path.stem for path in filled.store.files()}
    assert names == set(hashes.values()) - {hashes[1], hashes[5]}
    assert "forgotten" in cli("why", address, cwd=filled.root).out


@pytest.mark.parametrize(
    "fault", ["commit.before", "commit.before:2", "restore.set_aside", "commit.before:3", "image.removed"]
)
def test_a_killed_restore_forgets_too(cli: Cli, filled: Project, fault: str) -> None:
    """Wherever it was cut off, what was forgotten after the copy is so in the database that stands there, and later."""
    cli("forget", "1", cwd=filled.root, check=True)
    assert cli("db", "restore", cwd=filled.root, env={"CURATE_FAULT": fault}).code == KILLED
    for _ in range(2):
        assert "forgotten" in cli("why", "1", cwd=filled.root, check=True).out
        cli("db", "restore", cwd=filled.root, check=True)


def test_a_copy_with_other_classes_is_refused(cli: Cli, filled: Project) -> None:
    """Before anything is changed: no command could open the project any more. With the classes of then it is taken."""
    settings = filled.root / "curate.toml"
    before = settings.read_text()
    cli("classes", "rename", "Red", "Crimson", cwd=filled.root, check=True)
    ran = cli("db", "restore", cwd=filled.root)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "was made with other classes, and was not put back: class 'Red' is missing" in ran.err
    assert images(filled.database.path) == 5
    assert not list(filled.database.path.parent.glob("backups/replaced-*"))
    assert "Crimson" in cli("status", "--json", cwd=filled.root, check=True).json["classes"]
    settings.write_text(before)
    cli("db", "restore", cwd=filled.root, check=True)
    assert "Red" in cli("status", "--json", cwd=filled.root, check=True).json["classes"]


def test_a_database_that_is_worked_on_is_left_alone(cli: Cli, filled: Project) -> None:
    """Whoever has it open would write on into the one that is set aside."""
    with filled.database.read() as session:
        session.execute(select(Image.id)).all()
        ran = cli("db", "restore", cwd=filled.root)
    filled.database.close()
    assert (ran.code, "another process works on" in ran.err) == (2, True)
    assert images(filled.database.path) == 5


def test_files_that_the_copy_knows_and_that_are_gone_are_told(cli: Cli, filled: Project) -> None:
    """In the answer, with what lists them."""
    for path in filled.store.files():
        path.unlink()
    assert cli("db", "restore", "--json", cwd=filled.root, check=True).json["lost"] == 2


def test_a_copy_of_a_newer_program_is_refused(filled: Project) -> None:
    """Before anything is set aside."""
    newer = migrate.backup(filled.database.path)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(DatabaseError, match="newer"):
        restore.restore(filled.database.path, newer)
    assert images(filled.database.path) == 5
