"""What can be wrong with a server before any work: another version, a token that is none, a process that is gone."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labeler import server
from labeler.install import VERSION, installation
from labeler.server import LocalServer
from tests import prepare
from tests.conftest import Cli
from tests.labelstudio import MakeDesk, Studio, free_port, label, set_url, started, unchecked
from tests.relay import Relay, relay


@pytest.fixture
def between(studio: Studio) -> Iterator[Relay]:
    """A relay before the shared server."""
    with relay(studio.url) as found:
        yield found


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"release": "1.8.2"}', "is version 1.8.2; curate needs 1.23 or later of 1.x"),
        (b'{"release": "2.0.0"}', "is version 2.0.0; curate needs"),
        (b'{"another": "program"}', "is version unknown; curate needs"),
        (b"[]", "is version unknown; curate needs"),
        (404, "is version unknown; curate needs"),
    ],
)
def test_another_version_is_refused(
    make_desk: MakeDesk, between: Relay, cli: Cli, answer: bytes | int, words: str
) -> None:
    """One line names the version, the one that is needed, and what to do; nothing is made there."""
    desk = make_desk(1, start=False)
    set_url(desk.root, between.url)
    between.faults["GET", "/api/version"] = answer
    ran = cli("label", "start", "--project", desk.root, env=desk.env)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert words in ran.err
    assert f"it was tried with {VERSION}" in ran.err
    assert ("POST", "/api/projects/") not in between.asked


def test_a_newer_version_is_told_and_used(make_desk: MakeDesk, between: Relay, cli: Cli) -> None:
    """A later one of the same kind is tried, and the line says so."""
    desk = make_desk(1, start=False)
    set_url(desk.root, between.url)
    between.faults["GET", "/api/version"] = b'{"release": "1.99.0"}'
    ran = cli("label", "start", "--project", desk.root, env=desk.env, check=True)
    assert f"is version 1.99.0; curate was tried with {VERSION}" in ran.err


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A project's own server, with nothing to label."""
    folder = tmp_path_factory.mktemp("running") / "project"
    unchecked(folder, ("Red", "Green")).database.close()
    with started(folder) as local:
        yield local


def kill(local: LocalServer) -> int:
    """End the server as a power cut would; give its number."""
    pid = local.credentials().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while local.lives():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return pid


def test_a_server_that_was_killed_is_started_anew(home: LocalServer, cli: Cli) -> None:
    """Its number is no reason to believe in it: status says that it is gone, and commands how to start it."""
    before = kill(home)
    told = cli("label", "status", "--project", home.root, check=True)
    assert "not running" in told.out
    pulled = cli("label", "pull", "--project", home.root)
    assert (pulled.code, pulled.err.count("\n")) == (2, 1)
    assert "start it with `curate label start`" in pulled.err
    label(home.root, "start")
    assert home.running()
    assert home.credentials().pid != before


def test_a_token_that_was_changed_there_is_told(home: LocalServer, cli: Cli) -> None:
    """The local server refuses it: one line says so, without the token, and the server goes on."""
    file = home.folder / "credentials.json"
    kept = file.read_text()
    token = "0" * 40
    file.write_text(json.dumps(json.loads(kept) | {"token": token}))
    try:
        for command in ("start", "push", "pull"):
            ran = cli("label", command, "--project", home.root)
            assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
            assert "refuses the token (401); was it changed there?" in ran.err
            assert token not in ran.err
    finally:
        file.write_text(kept)
    assert home.running()


def test_a_port_that_another_program_has(home: LocalServer, tmp_path: Path) -> None:
    """A stop that finds its port in other hands leaves those alone."""
    folder = tmp_path / "other"
    unchecked(folder, ("Red", "Green")).database.close()
    set_url(folder, f"http://127.0.0.1:{free_port()}")
    other = LocalServer(folder / ".curate" / "label-studio", folder)
    other.folder.mkdir(parents=True)
    other.keep(server.Credentials("local:x", "p", "t" * 40, home.credentials().port, None))
    assert (other.running(), other.stop()) == (False, False)
    assert home.running()


def test_a_server_that_was_stopped_is_waited_for(home: LocalServer) -> None:
    """What this process started and stopped leaves nothing behind that Python would warn of."""
    home.stop()
    home.start(installation(prepare.cache()), home.server().url)
    (process,) = server._STARTED
    assert home.stop()
    assert (server._STARTED, process.returncode) == ([], -signal.SIGTERM)
