"""A project's own Label Studio: started, found again, moved, stopped; and who may look into it."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from curate import project as projects
from curate.labelling import Labelling
from curate.studio import Environment
from db.errors import LabelStudioError
from labeler import server
from labeler.client import Server
from labeler.server import USER, Credentials, LocalServer, _lives
from labeler.signin import session_cookie
from tests import prepare
from tests.conftest import Cli
from tests.environment import clean_env
from tests.labelstudio import fill, free_port, label, set_url, started, unchecked
from tests.web import Web

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with two images that nobody has labelled."""
    return new_project(tmp_path / "project")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that runs while this file's tests do, with a task an image."""
    folder = new_project(tmp_path_factory.mktemp("home") / "project")
    with started(folder) as local:
        with labelling(folder) as desk:
            desk.push()
        yield local


def new_project(folder: Path) -> Path:
    project = unchecked(folder, ("Red", "Green"))
    fill(project, folder.parent / "in", 2)
    project.database.close()
    set_url(folder, f"http://127.0.0.1:{free_port()}")
    return folder


@contextmanager
def labelling(folder: Path) -> Iterator[Labelling]:
    """A project's labelling by its own server."""
    project = projects.open_project(folder)
    try:
        yield Labelling(project, Environment(prepare.cache(), None))
    finally:
        project.database.close()


def processes(local: LocalServer) -> set[int]:
    """Servers that work in this project's folder: each leads its session, in which what it calls for a moment runs."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                session = int((entry / "stat").read_text().rpartition(") ")[2].split()[3])
                if session == int(entry.name) and (entry / "cwd").samefile(local.folder):
                    found.add(session)
            except OSError:
                continue
    return found


def pictures(local: LocalServer) -> list[httpx.Response]:
    """What the page shows of each task to a person who signed in."""
    kept = local.credentials()
    url = local.server().url
    cookie = session_cookie(url, USER, kept.password)
    with httpx.Client(base_url=url, cookies={"sessionid": cookie}, trust_env=False) as http:
        (project,) = http.get("/api/projects/").json()["results"]
        tasks = http.get("/api/tasks", params={"project": project["id"], "fields": "all"}).json()["tasks"]
        return [http.get(task["data"]["image"]) for task in tasks]


def stored(root: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (root / "images").rglob("*") if path.is_file())


def test_images_are_shown_from_the_project_folder(home: LocalServer) -> None:
    """With a login the page gets each file byte for byte, without one nothing; no copy is uploaded."""
    shown = pictures(home)
    assert sorted(answer.content for answer in shown) == stored(home.root)
    assert {answer.headers["content-type"] for answer in shown} == {"image/jpeg"}
    for address in (shown[0].url, f"{home.server().url}/data/local-files/?d=curate.toml"):
        assert httpx.get(address, trust_env=False).status_code == 401
    assert not [path for path in (home.folder / "media").rglob("*.jpg") if path.is_file()]


@pytest.mark.parametrize(
    "path", ["curate.toml", "images/../curate.toml", ".curate/label-studio/credentials.json", "/etc/passwd"]
)
def test_nothing_but_images_is_shown(home: LocalServer, path: str) -> None:
    """Even who is signed in gets no other file of the project, or of the machine, through the server."""
    cookie = session_cookie(home.server().url, USER, home.credentials().password)
    with httpx.Client(base_url=home.server().url, cookies={"sessionid": cookie}, trust_env=False) as http:
        assert http.get("/data/local-files/", params={"d": path}).status_code in {403, 404}


def test_a_second_start_keeps_the_server(home: LocalServer) -> None:
    """`curate label start` again says the same address, and starts no second process."""
    before = (home.credentials(), processes(home))
    answer = label(home.root, "start")
    assert (home.credentials(), processes(home)) == before
    assert (len(before[1]), answer["url"]) == (1, home.server().url)


def test_credentials_are_the_owners_alone(home: LocalServer, cli: Cli) -> None:
    """File 0600 in a folder 0700; the token is in no output and no log, but for `--show-token`."""
    assert stat.S_IMODE((home.folder / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.folder.parent.stat().st_mode) == 0o700
    kept = home.credentials()
    ran = cli("label", "status", "--project", home.root, check=True)
    shown = cli("label", "status", "--show-token", "--project", home.root, check=True)
    logs = [path.read_text(errors="replace") for path in home.folder.rglob("*.log")]
    for secret in (kept.token, kept.password):
        assert secret not in "".join([ran.out, ran.err, repr(kept), repr(home.server()), *logs])
        assert secret.encode() not in b"".join(Path(f"/proc/{p}/cmdline").read_bytes() for p in processes(home))
    assert f"Authorization: Token {kept.token}" in shown.out


def test_a_taken_port_is_told(home: LocalServer, folder: Path) -> None:
    """A second project goes to another port and says so; of two starts at once the later uses what the first began."""
    set_url(folder, home.server().url)
    local = LocalServer(folder / ".curate" / "label-studio", folder)
    arguments = [sys.executable, "-m", "curate", "label", "start", "--project", str(folder)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        running = [subprocess.Popen(arguments, env=clean_env(), **pipes) for _ in range(2)]
        said = [process.communicate() for process in running]
        assert [process.returncode for process in running] == [0, 0]
        assert len(processes(local)) == 1
        url = local.server().url
        assert url != home.server().url
        assert all(url in out for out, _ in said)
        told = f"Label Studio is at {url}: the port of {home.server().url} was taken"
        assert any(told in err for _, err in said)
        with labelling(folder) as desk:
            assert desk.push().created == 2
            assert desk.stop()
    finally:
        local.stop()
    assert (local.running(), home.running()) == (False, True)


def test_stopping_keeps_everything(home: LocalServer, cli: Cli) -> None:
    """After a stop commands say how to start; after the next start tasks and images are there."""
    with labelling(home.root) as desk:
        assert desk.stop() is True
        assert processes(home) == set()
        assert cli("label", "stop", "--project", home.root).out == "it was not running\n"
        for command in (desk.push, desk.pull, desk.open):
            with pytest.raises(LabelStudioError, match="start it with `curate label start`"):
                command()
        label(home.root, "start")
        assert sorted(answer.content for answer in pictures(home)) == stored(home.root)
        assert (desk.push().created, desk.status().tasks) == (0, 2)


def test_moving_the_folder_under_a_running_server(folder: Path) -> None:
    """The next start replaces the server that still shows the old place; there is one process, and images are shown."""
    with started(folder) as before:
        with labelling(folder) as desk:
            desk.push()
        (old,) = processes(before)
        moved = folder.rename(folder.with_name("moved"))
        local = LocalServer(moved / ".curate" / "label-studio", moved)
        try:
            label(moved, "start")
            assert len(processes(local)) == 1
            assert old not in processes(local)
            assert sorted(answer.content for answer in pictures(local)) == stored(moved)
            with labelling(moved) as desk:
                assert (desk.push().created, desk.status().tasks) == (0, 2)
        finally:
            local.stop()


def test_a_start_that_was_killed_leaves_one_server(folder: Path) -> None:
    """The next start waits for the server that is coming up already, instead of starting another on the same data."""
    local = LocalServer(folder / ".curate" / "label-studio", folder)
    arguments = [sys.executable, "-m", "curate", "label", "start", "--project", str(folder)]
    try:
        with subprocess.Popen(arguments, env=clean_env(), stderr=subprocess.DEVNULL) as start:
            deadline = time.monotonic() + 60
            while not (local.exists and local.credentials().pid):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            start.kill()
        (first,) = processes(local)
        label(folder, "start")
        assert processes(local) == {first}
    finally:
        local.stop()


def test_a_number_that_another_process_got_is_left_alone(folder: Path) -> None:
    """A process that merely has the number of a server long gone is neither taken for it nor stopped."""
    local = LocalServer(folder / ".curate" / "label-studio", folder)
    local.folder.mkdir(parents=True)
    (local.folder / "credentials.json").write_text(
        f'{{"identity": "local:x", "password": "p", "token": "t", "port": 1, "pid": {os.getppid()}}}'
    )
    assert (local.running(), local.stop()) == (False, False)


def test_a_server_that_leaves_its_folder_for_a_moment_is_ours(folder: Path, tmp_path: Path) -> None:
    """Label Studio does, to ask git for its version. Taken for another's, it would get a second beside it."""
    local = LocalServer(folder / ".curate" / "label-studio", folder)
    local.folder.mkdir(parents=True)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)", "label-studio"]
    for log, ours in ((local.folder / "server.log", True), (tmp_path / "another.log", False)):
        with log.open("ab") as out, subprocess.Popen(sleep, cwd=tmp_path, stdout=out) as process:
            local.keep(Credentials("local:x", "p", "t", 1, process.pid))
            assert local.lives() is ours
            process.kill()


def test_a_server_whose_arguments_are_not_in_place_yet_is_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine its starter goes on before they are. Taken for another's, it would get a second beside it."""
    local = LocalServer(folder / ".curate" / "label-studio", folder)
    local.folder.mkdir(parents=True)
    real, seen = server._arguments, []

    def late(pid: int | None) -> str:
        seen.append(pid)
        return "" if len(seen) < 3 else real(pid)

    sleep = [sys.executable, "-c", "import time; time.sleep(600)", "label-studio"]
    with subprocess.Popen(sleep, cwd=local.folder) as process:
        local.keep(Credentials("local:x", "p", "t", 1, process.pid))
        monkeypatch.setattr(server, "_arguments", late)
        assert local.lives()
        assert seen == 3 * [process.pid]
        process.kill()


def test_a_dead_server_that_nobody_waited_for_is_dead() -> None:
    """In a container whose first process reaps nobody, stopping a server ends all the same."""
    code = "import os, time; p = os.fork(); p or os._exit(0); print(p, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        dead = int(parent.stdout.readline())
        deadline = time.monotonic() + 30
        while _lives(dead):
            assert time.monotonic() < deadline
        os.kill(dead, 0)  # it has its number still
        parent.kill()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "x"}'])
def test_damaged_credentials_are_told(folder: Path, text: str) -> None:
    """The file and what to do with it are named."""
    file = folder / ".curate" / "label-studio" / "credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with labelling(folder) as desk, pytest.raises(LabelStudioError, match=r"credentials\.json is damaged"):
        desk.push()


def test_a_server_elsewhere_needs_a_token(folder: Path, cli: Cli) -> None:
    """An address that is not this machine's is never started here; the setting that is missing is named."""
    set_url(folder, "https://labels.example.org")
    ran = cli("label", "start", "--project", folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "set CURATE_LABEL_STUDIO_TOKEN" in ran.err


def test_another_program_at_the_address_is_told(web: Web) -> None:
    """One that has no page of ours is no Label Studio that has lost something: to ask again would not help."""
    with Server(web.url, "token", web.url, local=False) as server, pytest.raises(LabelStudioError) as told:
        server.check()
    assert str(told.value) == f"{web.url} answers, but not as a Label Studio (404); check label_studio.url"
