"""The network that helps to find copies: used where its weights are, done without where they are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from curate.dedup import descriptor, search
from curate.dedup.descriptor import load
from curate.dedup.search import dedup
from curate.ingest.folder import import_folder
from curate.project import Project
from db.errors import ConfigError
from tests.conftest import Cli
from tests.pictures import encoded
from tests.test_compare import COPIES, scene
from tests.test_dedup import names
from trainer.errors import WeightsError
from trainer.network import build


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random filters: they too tell pictures apart, if less well than learned ones."""
    torch.manual_seed(1)
    network: nn.Module = build("squeezenet1_1", classes=1, size=160)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({name: w for name, w in network.state_dict().items() if name.startswith("features.")}, path)
    return path


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Six pictures, and a copy of the first in every kind."""
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(1, 7):
        (folder / f"{seed}.png").write_bytes(encoded(scene(seed), "PNG"))
    for kind, change in COPIES.items():
        (folder / f"1 {kind.replace(' %', '')}.jpg").write_bytes(encoded(change(scene(1)), quality=85))
    return folder


def test_a_mirrored_picture_is_described_alike(weights: Path) -> None:
    """A vector is that of the picture and of its mirror image together, and of another picture it is another."""
    picture = np.asarray(scene(1))
    one, mirrored, other = load(str(weights)).describe([picture, picture[:, ::-1], np.asarray(scene(2))])
    assert np.abs(one.astype(int) - mirrored).max() <= 2
    assert np.abs(one.astype(int) - other).max() > 2


def test_a_file_of_weights_is_used(make_project: Callable[..., Project], copies: Path, weights: Path) -> None:
    """The search says which network it used, and finds the copies; a second search has nothing to look at."""
    project = make_project(dedup__descriptor=f'"{weights}"')
    import_folder(project, copies, labels=False)
    report = dedup(project)
    assert report.descriptor == str(weights)
    assert [len(group) for group in names(project)] == [1 + len(COPIES)]
    assert dedup(project).proposed == 0


def test_without_weights_the_search_goes_on(
    make_project: Callable[..., Project], copies: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where weights cannot be fetched it is said once; what was found with them stays, and is not compared anew."""
    project = make_project(dedup__descriptor=f'"{weights}"')
    import_folder(project, copies, labels=False)
    found = dedup(project).groups

    def refuse(_: object) -> None:
        raise WeightsError("no network")

    monkeypatch.setattr("curate.dedup.descriptor.load", refuse)
    said = Said()
    again = dedup(project, said)
    assert (again.descriptor, again.proposed, again.groups) == ("none", 0, found)
    assert [line for line in said.lines if "none" in line] == said.lines
    assert len(said.lines) == 1


def test_what_cannot_be_fetched_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crawl searches many times, and each attempt may wait for a network that stays silent."""
    asked = []

    def refuse(_network: object, arch: str, init: str) -> None:
        asked.append((arch, init))
        raise WeightsError("no network")

    monkeypatch.setattr(descriptor, "initialise", refuse)
    descriptor._tried.cache_clear()
    for _ in range(3):
        with pytest.raises(WeightsError, match="no network"):
            load("imagenet")
    assert asked == [("squeezenet1_1", "imagenet")]
    descriptor._tried.cache_clear()


class Said(search.QUIET.__class__):  # type: ignore[name-defined,misc]  # the class of the quiet progress
    """Keeps what a stage tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        """Keep a line."""
        self.lines.append(message)


def test_a_file_that_does_not_do_is_an_error(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """What the user names must be there and fit; that is no reason to go on without."""
    wrong = tmp_path / "wrong.safetensors"
    save_file({"x": torch.zeros(1)}, wrong)
    for named in (wrong, tmp_path / "missing.safetensors"):
        project = make_project(name=named.stem, dedup__descriptor=f'"{named}"')
        with pytest.raises(ConfigError, match=r"dedup\.descriptor"):
            dedup(project)


def test_imagenet_without_a_network_ends_well(cli: Cli, tmp_path: Path, copies: Path) -> None:
    """By the command line: one line on stderr, exit code 0, and JSON that says which descriptor was used."""
    cli("init", "p", "--classes", "A,B", check=True)
    cli("import", copies, "--project", tmp_path / "p", check=True)
    ran = cli("dedup", "--json", "--project", tmp_path / "p", check=True)
    assert ran.json["descriptor"] == "none"
    assert len([line for line in ran.err.splitlines() if "weights" in line]) == 1
