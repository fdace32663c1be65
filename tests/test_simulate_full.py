"""`curate simulate --mode full`: the network itself learns in each round, and nothing of that is left behind."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from curate.edit import set_value
from curate.project import Project, open_project
from curate.simulation import network
from curate.simulation.kept import FOLDER, ROUNDS
from curate.simulation.simulate import Asked, simulate
from db.models import Run, Side
from tests.conftest import Cli
from tests.test_forget import out
from tests.test_simulate import HELD_OUT, TRAIN, labelled, sides
from trainer.manifest import TRAIN as SIDE
from trainer.manifest import Manifest
from trainer.run import RunResult, train

ASKED = Asked(("margin",), seeds=1, batch=20, mode="full")


@pytest.fixture
def ready(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a split to replay, and an epoch a training."""
    project = labelled(make_project, tmp_path / "in")
    set_value(project.root / "curate.toml", "train.epochs", "1")
    project.database.close()
    return open_project(project.root)


def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of images that are learned from, from now on."""
    seen: list[int] = []

    def counted(manifest: Manifest, *arguments: Any) -> RunResult:  # noqa: ANN401 - the trainer's
        seen.append(len(manifest.side(SIDE)))
        return train(manifest, *arguments)

    monkeypatch.setattr(network, "train", counted)
    return seen


def test_every_round_trains_the_network(ready: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies are those of trainings on what was labelled; the same labels are learned once; no run is left."""
    seen = trainings(monkeypatch)
    report = simulate(ready, ASKED)
    assert sorted(seen) == [3, 23, 23, 3 * TRAIN]  # the first batch and the whole pool are the same to both strategies
    assert report.mode == "full"
    for name in ("random", "margin"):
        curve = report.curves[name][1]
        assert curve.labels == (3, 23, 3 * TRAIN)
        assert all((right * 3 * HELD_OUT).is_integer() for right in curve.accuracy)
        assert curve.accuracy[-1] == report.wholes[1]
        assert sorted(report.orders[name][1]) == sorted(sides(ready)[Side.TRAIN])
    with ready.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 0
    assert not ready.runs.exists()
    assert [path.suffix for path in (ready.private / FOLDER / ROUNDS).rglob("*") if path.is_file()] == []
    seen.clear()
    assert simulate(ready, ASKED).curves == report.curves
    assert seen == []


def test_each_seed_learns_from_all_labels_itself(ready: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, for all its strategies, which reach what they are measured by; no round is left of any seed."""
    seen = trainings(monkeypatch)
    report = simulate(ready, Asked(("margin",), seeds=2, batch=3 * TRAIN, mode="full"))
    assert sorted(seen) == [3, 3, 3 * TRAIN, 3 * TRAIN]
    for seed in (1, 2):
        assert {report.curves[name][seed].accuracy[-1] for name in report.curves} == {report.wholes[seed]}
    assert all(one.reached == 2 for one in report.saved)
    assert not list((ready.private / FOLDER / ROUNDS).rglob("*.npz"))


def test_a_full_simulation_that_was_killed_goes_on_with_the_next_round(
    ready: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after two rounds, it does not learn them again, and ends as if it had never been stopped."""
    straight = simulate(ready, ASKED)
    shutil.rmtree(ready.private / FOLDER)
    command = ["simulate", "--mode", "full", "--strategies", "margin", "--seeds", "1", "--batch", "20"]
    killed = cli(*command, "--project", ready.root, env={"CURATE_FAULT": "round.kept:2"})
    assert killed.code == -signal.SIGKILL
    rounds = ready.private / FOLDER / ROUNDS
    assert len(list(rounds.rglob("*.npz"))) == 2
    seen = trainings(monkeypatch)
    assert simulate(ready, ASKED).curves == straight.curves
    assert seen == [23, 23]


def test_a_forgotten_image_leaves_no_round_behind(ready: Project, cli: Cli) -> None:
    """What a round's network saw in it goes, too."""
    command = ["simulate", "--mode", "full", "--strategies", "margin", "--seeds", "1", "--batch", "20"]
    cli(*command, "--project", ready.root, env={"CURATE_FAULT": "round.kept:1"})
    rounds = ready.private / FOLDER / ROUNDS
    assert list(rounds.rglob("*.npz"))
    out(ready, next(iter(sides(ready)[Side.TRAIN])))
    assert not rounds.exists()
