"""What tests share: projects, the real command line, real servers on loopback, and a wall around the network."""

import ipaddress
import json
import os
import shutil
import signal
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curate import project as projects
from curate.config import IngestSettings
from curate.crawl import crawl
from curate.ingest import folder
from curate.ingest.decoders import Decoders
from curate.project import Project
from db import migrate
from tests.browser import browser
from tests.environment import clean_env
from tests.forks import COMMANDS
from tests.labelstudio import make_desk, studio
from tests.web import Web, serve

__all__ = ["browser", "clean_env", "make_desk", "studio"]
"""What tests find here, and pytest as fixtures, though it stands in other files."""

# The networks of these tests are tiny. With a thread a core, two processes that compute at once wait for each other's
# threads and are twenty times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `datasets` reads it once, when it is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell that runs the tests in its background lets them ignore Ctrl-C, and all that they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

CLASSES = ("Red", "Green", "Blue")


def _share(module: str) -> str:
    """Which server a module's tests share: one for all would keep one worker busy long after the others are done."""
    return "live" if module.startswith(("test_watch", "test_live")) else str(zlib.crc32(module.encode()) % 2)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests that share a server in one process, since each further process would start another; begin the long."""
    for item in items:
        if "studio" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(f"studio-{_share(item.path.stem)}"))
    if hasattr(config, "workerinput"):  # among several: the others must not wait at the end for one that is at it alone
        items.sort(key=lambda item: not (item.get_closest_marker("long") or _share(item.path.stem) == "live"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing in this process connect past loopback."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:  # noqa: ANN401 - as the socket's family has it
        if self.family in {socket.AF_INET, socket.AF_INET6} and not ipaddress.ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _warm_decoders() -> Iterator[None]:
    """Keep decoder processes from test to test: to start one takes longer than most tests."""
    pools: dict[str, Decoders] = {}

    @contextmanager
    def kept(limits: IngestSettings) -> Iterator[Decoders]:
        key = limits.model_dump_json()
        if key not in pools:
            pools[key] = Decoders(limits)
        yield pools[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (folder, crawl):
            patch.setattr(module, "Decoders", kept)
        yield
    for pool in pools.values():
        pool.close()


def project_in(folder: Path, *classes: str, **settings: str) -> Project:
    """Make a project; settings are given as `section__key=value` in TOML.

    Quality checks are off unless a test sets a key of theirs: most tests' pictures are tiny blurs.
    """
    projects.create(folder, None, classes or CLASSES).database.close()
    file = folder / "curate.toml"
    text = file.read_text()
    if not any(key.startswith("quality__") for key in settings):
        settings["quality__enabled"] = "false"
    settings.setdefault("dedup__descriptor", '"none"')  # its weights would come from the network
    settings.setdefault("labelling__hidden", "0")  # every pre-label is shown, unless a test asks for other
    for key, value in settings.items():
        section, _, last = key.rpartition("__")
        text = _set(text, section.replace("__", "."), f"{last} = {value}")
    file.write_text(text)
    return projects.open_project(folder)


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Make projects in folders of their own, as `project_in` does."""
    made: list[Project] = []

    def make(*classes: str, name: str = "project", **settings: str) -> Project:
        made.append(project_in(tmp_path / name, *classes, **settings))
        return made[-1]

    yield make
    for project in made:
        project.database.close()


def _set(text: str, section: str, line: str) -> str:
    head = f"[{section}]\n"
    key = line.split(" = ", maxsplit=1)[0]
    if head not in text:
        return f"{text}\n{head}{line}\n"
    before, _, after = text.partition(head)
    body, bracket, rest = after.partition("\n[")
    lines = [old for old in body.splitlines() if not old.startswith(f"{key} =")]
    return before + head + "\n".join([line, *lines]) + "\n" + bracket + rest


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project with three classes and nothing in it."""
    return make_project()


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command says
        """The one JSON object on stdout."""
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture(scope="session", autouse=True)
def _kept_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make one empty database by its migrations, and copy it from then on: two tests in three begin with one."""
    kept: dict[Path, Path] = {}
    make = migrate._make

    def copied(path: Path) -> None:
        migrations = migrate._folder()
        if migrations not in kept:
            kept[migrations] = tmp_path_factory.mktemp("database") / "empty.db"
            make(kept[migrations])
        shutil.copyfile(kept[migrations], path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "_make", copied)
        yield


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    yield
    COMMANDS.close()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The real command line, in a process of its own."""

    def run(*arguments: object, cwd: Path = tmp_path, env: dict[str, str] | None = None, check: bool = False) -> Ran:
        done = COMMANDS.run(list(map(str, arguments)), cwd, clean_env() | (env or {}))
        if check and done.returncode:
            raise AssertionError(f"curate {arguments} ended with {done.returncode}: {done.stderr}")
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def web() -> Iterator[Web]:
    """A server on loopback, for what the outside world would answer."""
    with serve() as running:
        yield running
