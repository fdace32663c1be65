"""The README: every command in it runs, in its order, and its links and targets are there."""

import re
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.config import Settings, parse
from curate.demo.annotator import Annotator
from curate.demo.draw import draw
from curate.demo.web import serve
from curate.demo.world import World
from curate.labelling import Labelling
from curate.project import open_project
from curate.studio import Environment
from docs.check import problems
from docs.reference import reference
from tests import prepare
from tests.conftest import Cli
from trainer.predict import read_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
MAY_END_WITH_1 = {"curate crawl", "curate split"}
"""An address that failed, a class that is short: told, and no reason to stop."""
SETTINGS = {
    "dataset.validation": "2",
    "dataset.target": "7",
    "crawl.allow_private_addresses": "true",
    "crawl.sources": '["openverse"]',
    "train.arch": "resnet18",
    "train.init": "none",
    "train.size": "32",
    "train.epochs": "1",
    "train.device": "cpu",
}


def test_links_and_the_command_reference_are_up_to_date() -> None:
    """What `make check` asks of the docs holds."""
    assert problems() == []


def test_every_make_target_named_exists() -> None:
    """`make demo` and the others are in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {line.split()[1] for line in COMMANDS if line.startswith("make ")} <= targets
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_commands_named_in_passing_exist() -> None:
    """No text speaks of a command that is not there."""
    pages = [README, *((ROOT / "docs" / name).read_text() for name in ("decisions.md",))]
    named = {word for page in pages for word in re.findall(r"`curate ([a-z]+)", page)}
    known = set(re.findall(r"^## `curate ([a-z]+)", reference(), re.MULTILINE))
    assert named <= known


@contextmanager
def labelling(project: Path, world: World, most: int) -> Iterator[Annotator]:
    """A person at work on the project's own Label Studio."""
    opened = open_project(project)
    desk = Labelling(opened, Environment(prepare.cache(), None))
    number = desk.status().project
    assert number is not None
    try:
        with Annotator(desk.server(), number, world.truth, list(world.queries), 1, most) as annotator:
            yield annotator
    finally:
        opened.database.close()


@contextmanager
def person(project: Path, world: World) -> Iterator[None]:
    """Somebody who labels all the while."""
    done = threading.Event()

    def work(annotator: Annotator) -> None:
        while not done.wait(0.2):
            annotator.work()

    with labelling(project, world, 1000) as annotator:
        thread = threading.Thread(target=work, args=(annotator,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@pytest.fixture
def world() -> World:
    """The web of the preset's classes and queries."""
    text = (ROOT / "curate" / "presets" / "guitars.toml").read_text(encoding="utf-8")
    settings = Settings.model_validate(parse(text, ROOT))
    return World(3, {c.name: settings.queries(c.name) for c in settings.classes}, int(SETTINGS["dataset.target"]) + 2)


@pytest.mark.long
def test_every_command_runs_in_its_order(cli: Cli, tmp_path: Path, world: World) -> None:
    """The loop on real work, from `init` to `label stop`, with a small web, a small network and somebody who labels."""
    folder = tmp_path / "guitars"
    browser = tmp_path / "browser"
    browser.write_text(f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1])\n")
    browser.chmod(0o755)
    env = {"BROWSER": f"{browser} %s"}

    def run(line: str, cwd: Path) -> None:
        done = cli(*shlex.split(line)[1:], cwd=cwd, env=env)
        allowed = {0, 1} if line.partition('"')[0].strip() in MAY_END_WITH_1 else {0}
        assert done.code in allowed, f"{line}: {done.err}"

    cwd = tmp_path
    with serve(world) as url:
        for line in (line for line in COMMANDS if not line.startswith("make ")):
            if line.startswith("cd "):
                cwd /= line.removeprefix("cd ")
                for key, value in {**SETTINGS, "crawl.openverse.url": url}.items():
                    run(f"curate config {key} {shlex.quote(value)}", cwd)
                continue
            if line == "curate label pull":
                with labelling(folder, world, 60) as annotator:
                    for _ in range(3):
                        annotator.work()
            if line.startswith("curate predict"):
                draw("SG", 77).save(cwd / "photo.jpg")
                (cwd / "offers.csv").write_text("image,class\nphoto.jpg,SG\n")
            if line.startswith("curate loop"):
                with person(folder, world):
                    run(line, cwd)
            else:
                run(line, cwd)
    assert check_outcome(folder) == []


def check_outcome(folder: Path) -> list[str]:
    """What the README promises and is not there."""
    missing = [name for name in ("curate.toml", "curate.db", "images", "report.html") if not (folder / name).exists()]
    missing += [name for name in ("guitars-dataset", "guitars-hub") if not any((folder.parent / name).iterdir())]
    finished = [read_run(run)["validation_accuracy"] for run in (folder / "runs").iterdir()]
    return missing if len(finished) == 3 else [*missing, "three runs"]
