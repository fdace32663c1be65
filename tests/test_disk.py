"""A disk that is full: the command stops with 2, names the path, leaves nothing half-written, and can be run again.

The size limit that a shell sets with `ulimit -f` stands for the full disk: writes past it fail in the same way.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.doctor import examine
from curate.project import Project, open_project
from db.files import TEMPORARY
from tests.conftest import Cli, Ran
from tests.environment import clean_env
from tests.pictures import jpeg, write_folder
from tests.web import Web

MIB = 2**20


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project that may ask loopback."""
    project = make_project(crawl__allow_private_addresses="true")
    project.database.close()
    return project


def cramped(limit: int, *arguments: object, cwd: Path) -> Ran:
    """Run a command that cannot write a file beyond `limit` bytes."""
    code = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "runpy.run_module('curate', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env=clean_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def stopped(ran: Ran, path: Path) -> None:
    """It ended with 2, and the last line names the path and what to do."""
    assert ran.code == 2, ran
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"curate: error: cannot write {path}")
    assert "Make room there" in last
    assert "Traceback" not in ran.err


def temporaries(root: Path) -> list[Path]:
    """Unfinished files anywhere."""
    return list(root.rglob(f"{TEMPORARY}*"))


def large(folder: Path, number: int) -> None:
    """Pictures of two megabytes each, among small ones."""
    write_folder(folder, {"Red": range(5)})
    for n in range(number):
        (folder / "Red" / f"large{n}.jpg").write_bytes(jpeg(n) + os.urandom(2 * MIB))


def test_an_import_onto_a_full_disk_is_gone_on_with(cli: Cli, project: Project, tmp_path: Path) -> None:
    """It names the image that did not fit, and leaves no temporary file; with room, all of it is there."""
    large(tmp_path / "in", 2)
    command = ("import", tmp_path / "in", "--labels", "folder", "--json")
    stopped(cramped(MIB, *command, cwd=project.root), project.root / "images")
    assert temporaries(project.root) == []
    assert cli(*command, cwd=project.root, check=True).json["labelled"] == 7
    check_whole(project, 7)


def check_whole(project: Project, images: int) -> None:
    """So many images, and nothing for the doctor."""
    opened = open_project(project.root)
    assert examine(opened, repair=False) == []
    assert len(list(opened.store.files())) == images
    opened.database.close()


def test_a_crawl_onto_a_full_disk_is_gone_on_with(cli: Cli, project: Project, web: Web, tmp_path: Path) -> None:
    """Claims are let go, and the next crawl fetches what did not fit."""
    listed = tmp_path / "urls.txt"
    addresses = [web.put(f"/{n}.jpg", jpeg(n)) for n in range(3)]
    addresses += [web.put(f"/large{n}.jpg", jpeg(n) + os.urandom(2 * MIB)) for n in range(2)]
    listed.write_text("\n".join(addresses))
    command = ("crawl", "red", "--source", f"urls={listed}", "--json")
    stopped(cramped(MIB, *command, cwd=project.root), project.root / "images")
    assert temporaries(project.root) == []
    found = cli(*command, cwd=project.root, check=True).json
    assert found["stored"] + found["known"] == 5
    check_whole(project, 5)


def test_a_database_that_cannot_grow_is_told(cli: Cli, project: Project, tmp_path: Path) -> None:
    """The transaction that did not fit is undone whole, those before it stay, and the next run does the rest."""
    folder = write_folder(tmp_path / "in", {"Red": range(200)}, (16, 16))
    limit = project.database.path.stat().st_size + 64 * 1024
    stopped(cramped(limit, "import", folder, cwd=project.root), project.database.path)
    assert cli("db", "check", "--json", cwd=project.root, check=True).json == {"problems": []}
    again = cli("import", folder, "--json", cwd=project.root, check=True).json
    assert again["stored"] + again["duplicates"] == 200
    check_whole(project, 200)


def test_a_database_without_room_beside_it_is_not_called_damaged(project: Project) -> None:
    """Even to read it SQLite makes an index of its log: nobody shall put back an old copy for the lack of that."""
    stopped(cramped(8 * 1024, "status", cwd=project.root), project.database.path)


def test_settings_outlive_a_full_disk(project: Project) -> None:
    """The file is the old one, whole."""
    file = project.root / "curate.toml"
    before = file.read_bytes()
    stopped(cramped(len(before) - 100, "config", "dataset.target", "300", cwd=project.root), file)
    assert file.read_bytes() == before
    assert temporaries(project.root) == []


@pytest.mark.parametrize("limit", [8 * 1024, 100])
def test_a_project_that_does_not_fit_can_be_made_later(cli: Cli, tmp_path: Path, limit: int) -> None:
    """Init leaves nothing that would stop it the next time."""
    command = ("init", "new", "--classes", "A,B")
    ran = cramped(limit, *command, cwd=tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert str(tmp_path / "new") in ran.err
    assert cli(*command).code == 0
    assert cli("doctor", cwd=tmp_path / "new").code == 0
