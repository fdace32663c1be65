"""`curate train --seeds`: one training from several seeds."""

from statistics import mean, stdev

import pytest

from curate.project import Project
from curate.seeds import train_seeds
from curate.training import options_from
from tests.conftest import Cli
from tests.test_distill import SMALL, taught
from trainer.errors import DivergedError

__all__ = ["taught"]  # a fixture


def test_several_seeds_are_runs_of_their_own_and_their_spread_is_told(taught: Project, cli: Cli) -> None:
    """The best is told as one run is; the mean and the deviation are those of all."""
    arguments = ("--arch", SMALL, "--epochs", 1, "--seed", 5, "--seeds", 2, "--project", taught.root)
    found = cli("train", *arguments, "--json", check=True).json
    assert [one["seed"] for one in found["seeds"]] == [5, 6]
    assert len({one["run"] for one in found["seeds"]}) == 2
    accuracies = [one["validation_accuracy"] for one in found["seeds"]]
    assert found["mean"] == pytest.approx(mean(accuracies))
    assert found["deviation"] == pytest.approx(stdev(accuracies))
    assert found["best"]["validation_accuracy"] == max(accuracies)
    again = cli("train", *arguments, check=True)
    assert "was trained so already" in again.err
    assert f"mean accuracy {mean(accuracies):.3f}" in again.out


def test_seeds_that_were_finished_before_a_stop_are_not_trained_again(
    taught: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call goes on with those that are left."""
    options = options_from(taught, arch=SMALL, epochs=1, seed=1)
    (first,) = train_seeds(taught, options, 1).runs

    def broken(*_: object, **__: object) -> None:
        raise DivergedError("stopped here")

    with monkeypatch.context() as patched:
        patched.setattr("curate.seeds.train_run", broken)
        with pytest.raises(DivergedError):
            train_seeds(taught, options, 2)
    again = train_seeds(taught, options, 2)
    assert again.runs[0][1].run == first[1].run
    assert len({report.run for _, report in again.runs}) == 2


def test_seeds_and_resume_do_not_go_together(taught: Project, cli: Cli) -> None:
    """One line says which to use."""
    ran = cli("train", "--seeds", 2, "--resume", "--project", taught.root)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--resume goes on with one run" in ran.err
