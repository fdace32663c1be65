"""Ctrl-C and SIGTERM: the command ends with 130 or 143, lets go of what it had in work, and can be run again."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from curate.doctor import examine
from curate.project import Project, open_project
from db.models import Candidate, CandidateState
from tests.conftest import Cli
from tests.environment import clean_env
from tests.pictures import jpeg
from tests.web import Web

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def interrupted(arguments: list[str], cwd: Path, number: int, ready: Callable[[], bool]) -> tuple[int, str]:
    """Run a command, send it a signal once it is `ready`, and give its exit code and its stderr."""
    command = [sys.executable, "-m", "curate", *arguments]
    with subprocess.Popen(command, cwd=cwd, env=clean_env(), stderr=subprocess.PIPE, text=True) as process:
        while not ready():
            assert process.poll() is None, "it ended before it was interrupted"
            time.sleep(0.01)
        process.send_signal(number)
        _, told = process.communicate()
        return process.returncode, told


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_interrupted_crawl_is_gone_on_with(
    cli: Cli, make_project: Callable[..., Project], web: Web, tmp_path: Path, number: int, code: int
) -> None:
    """Claims are released at once, what was stored stays, and the same command fetches the rest, once."""
    project = make_project(crawl__allow_private_addresses="true")
    listed = tmp_path / "urls.txt"
    # The first half comes at once, the other not before the interrupt: however slow the machine is, some are left.
    paths = [f"/{n}.jpg" for n in range(12)]
    listed.write_text("\n".join(web.put(path, jpeg(n), delay=0.1 if n < 6 else 30) for n, path in enumerate(paths)))
    arguments = ["crawl", "red", "--source", f"urls={listed}"]
    ended, told = interrupted(arguments, project.root, number, lambda: any(project.store.files()))
    assert ended == code
    assert "run it again to go on" in told.splitlines()[-1], told
    assert "Traceback" not in told
    with project.database.read() as session:
        states = set(session.scalars(select(Candidate.state)))
        owners = set(session.scalars(select(Candidate.owner)))
    assert states == {CandidateState.PENDING, CandidateState.STORED}
    assert owners == {None}
    project.database.close()
    for path in paths:
        web.pages[path].delay = 0.0
    again = cli(*arguments, "--json", cwd=project.root, check=True).json
    assert again["stored"] + again["known"] == 12
    assert again["known"] > 0
    opened = open_project(project.root)
    assert examine(opened, repair=False) == []
    assert len(list(opened.store.files())) == 12
    opened.database.close()
    fetched = sum(count for path, count in web.asked.items() if path.endswith(".jpg"))
    assert fetched <= 12 + project.settings.crawl.concurrency


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_interrupted_import_is_gone_on_with(
    cli: Cli, project: Project, tmp_path: Path, number: int, code: int
) -> None:
    """What was committed stays, and the same command takes in the rest."""
    project.database.close()
    folder = tmp_path / "in"
    folder.mkdir()
    data = jpeg(1, (1600, 1200))
    for n in range(160):  # other bytes each, and slow to decode
        (folder / f"{n}.jpg").write_bytes(data + b"%d" % n)
    arguments = ["import", str(folder)]
    ended, told = interrupted(arguments, project.root, number, lambda: any(project.store.files()))
    assert ended == code
    assert "run it again to go on" in told.splitlines()[-1]
    assert "Traceback" not in told
    found = cli(*arguments, "--json", cwd=project.root, check=True).json
    assert found["stored"] + found["duplicates"] == 160
    opened = open_project(project.root)
    assert examine(opened, repair=False) == []
    assert len(list(opened.store.files())) == 160
    opened.database.close()
