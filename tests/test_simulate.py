"""`curate simulate`: what is replayed, that it adds up, that it goes on, and what its figures mean."""

import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.cli.main import run
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.simulation.head import Head, Linear
from curate.simulation.kept import FOLDER
from curate.simulation.replay import Replayed, first_batch, replay
from curate.simulation.simulate import Asked, simulate
from curate.simulation.summary import mean_of
from curate.split import latest_snapshot, split
from curate.strategies import STRATEGIES, named
from curate.strategies.interface import Pool, Rows
from db.errors import DatasetError
from db.models import Side
from tests.conftest import Cli, Ran
from tests.pictures import write_folder
from tests.test_forget import out
from tests.test_interrupt import interrupted
from trainer import features

CLASSES = ("Red", "Green", "Blue")
TRAIN, HELD_OUT = 12, 5


def labelled(make_project: Callable[..., Project], folder: Path, name: str = "project") -> Project:
    """A project of three tints, 12 images of each to learn from and 5 to validate on; its network is random."""
    settings = {"arch": '"squeezenet1_1"', "init": '"none"', "size": "32", "device": '"cpu"'}
    found = make_project(
        *CLASSES,
        name=name,
        dataset__validation=str(HELD_OUT),
        dataset__target=str(TRAIN + HELD_OUT),
        **{f"train__{key}": value for key, value in settings.items()},
    )
    write_folder(folder, {name: range(TRAIN + HELD_OUT) for name in CLASSES})
    import_folder(found, folder, labels=True)
    split(found)
    return found


@pytest.fixture
def ready(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a split to replay."""
    return labelled(make_project, tmp_path / "in")


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process: one of its own takes seconds for what it loads."""

    def call(*arguments: object) -> Ran:
        capfd.readouterr()
        ran = Ran(run(list(map(str, arguments))), *capfd.readouterr())
        assert ran.code == 0 or ran.err.count("\n") == 1, ran
        return ran

    return call


def sides(project: Project) -> Mapping[Side, dict[int, int]]:
    """Class of each image of the split, by side and id."""
    found: dict[Side, dict[int, int]] = defaultdict(dict)
    with project.database.read() as session:
        snapshot = latest_snapshot(session)
        assert snapshot is not None
        for item in snapshot.items:
            found[item.side][item.image_id] = item.class_index
    return found


def made(count: int = 60, classes: int = 3, spread: float = 1.0) -> tuple[Replayed, Linear]:
    """A pool of points around a corner for each class, and as many to validate on."""
    rng = np.random.default_rng(4)
    labels = np.arange(count) % classes
    points = [(np.eye(classes)[labels] * 2 + rng.normal(0, spread, (count, classes))).astype(np.float32) for _ in "ab"]
    return Replayed(labels, classes, count // classes), Linear(points[0], labels, points[1], labels, classes)


def test_the_command_replays_the_whole_pool(ready: Project, here: Cli) -> None:
    """Every strategy and seed labels all images to learn from, once each, from one a class upward, batch by batch."""
    ran = here("simulate", "--seeds", "2", "--batch", "10", "--json", "--project", ready.root)
    found = ran.json
    pool = sides(ready)[Side.TRAIN]
    assert (found["pool"], found["validation"]) == (3 * TRAIN, 3 * HELD_OUT)
    pairs = [(name, seed) for name in STRATEGIES for seed in (1, 2)]
    assert [(one["strategy"], one["seed"]) for one in found["orders"]] == pairs
    for one in found["orders"]:
        assert sorted(one["ids"]) == sorted(pool)
    rows = [(one["strategy"], one["seed"], one["labels"]) for one in found["curves"]]
    assert rows == [(*pair, labels) for pair in pairs for labels in (3, 13, 23, 33, 36)]
    rights = {round(one["accuracy"] * 3 * HELD_OUT, 6) for one in found["curves"]}
    assert all(right.is_integer() and 0 <= right <= 3 * HELD_OUT for right in rights)
    assert {one["accuracy"] for one in found["curves"] if one["labels"] == 36} == {found["whole"]}
    assert found["wholes"] == [{"seed": seed, "accuracy": found["whole"]} for seed in (1, 2)]
    assert [one["strategy"] for one in found["saved"]] == list(STRATEGIES)
    assert all(one["reached"] == 2 for one in found["saved"])
    control = next(one for one in found["saved"] if one["strategy"] == "random")
    assert control["less"] == {"mean": 0.0, "spread": 0.0}
    for one in found["saved"]:
        assert one["random"] == control["share"]
        assert one["less"]["mean"] == pytest.approx(control["share"]["mean"] - one["share"]["mean"])
    with Image.open(found["plot"]) as plot:
        assert (plot.format, plot.width > 1000) == ("PNG", True)
    assert "simulating: 504/504 labels" in ran.err


def test_a_seed_means_the_same_first_images_to_every_strategy(ready: Project) -> None:
    """One of each class, the same for all strategies, and others for another seed; validated on what is held out."""
    report = simulate(ready, Asked(("margin", "auto"), seeds=3, batch=10))
    pool = sides(ready)[Side.TRAIN]
    assert list(report.orders) == ["random", "margin", "auto"]
    firsts = {seed: {tuple(report.orders[name][seed][:3]) for name in report.orders} for seed in (1, 2, 3)}
    assert [len(found) for found in firsts.values()] == [1, 1, 1]
    assert len(set.union(*firsts.values())) > 1
    for found in firsts.values():
        assert sorted(pool[image] for image in next(iter(found))) == [0, 1, 2]
    for seed in (1, 2, 3):
        assert len({report.curves[name][seed].accuracy[0] for name in report.curves}) == 1


def test_what_was_simulated_is_not_simulated_again(ready: Project, here: Cli) -> None:
    """The same command gives the same answer from what is kept; more seeds are added to those that are there."""
    command = ["simulate", "--strategies", "margin", "--batch", "12", "--json", "--project", ready.root]
    first = here(*command, "--seeds", "1")
    again = here(*command, "--seeds", "1")
    assert again.json == first.json
    assert "2 of 2 curves are there from before" in again.err
    assert "simulating" not in again.err
    assert "embedding" not in again.err
    more = here(*command, "--seeds", "2")
    assert "2 of 4 curves are there from before" in more.err
    assert [one for one in more.json["orders"] if one["seed"] == 1] == first.json["orders"]


def test_a_simulation_that_was_killed_goes_on(ready: Project, cli: Cli, here: Cli) -> None:
    """Killed after two curves: the same command computes the rest, and all is as if it had never been stopped."""
    command = ["simulate", "--strategies", "badge,coreset", "--seeds", "2", "--batch", "5", "--project", ready.root]
    straight = here(*command, "--json").json
    kept = ready.private / FOLDER
    shutil.rmtree(kept)
    killed = cli(*command, env={"CURATE_FAULT": "curve.kept:2"})
    assert killed.code == -signal.SIGKILL
    assert len(list(kept.glob("*.json"))) == 4  # with what all labels give, for each seed
    resumed = here(*command, "--json")
    assert "2 of 6 curves are there from before" in resumed.err
    assert resumed.json == straight


def test_ctrl_c_ends_a_simulation_in_one_line(ready: Project) -> None:
    """It ends with 130, and says how to go on."""
    kept = ready.private / FOLDER
    command = ["simulate", "--strategies", "margin", "--seeds", "1000", "--batch", "1", "--project", str(ready.root)]
    code, told = interrupted(command, ready.root, signal.SIGINT, lambda: any(kept.glob("*.json")))
    assert code == 130
    assert "run it again to go on" in told.splitlines()[-1]
    assert "Traceback" not in told


def test_a_damaged_or_foreign_curve_is_replayed(ready: Project) -> None:
    """What cannot be read is computed again; a curve of another batch size, label or network is not taken."""
    asked = Asked(("margin",), seeds=1, batch=12)
    report = simulate(ready, asked)
    files = sorted((ready.private / FOLDER).glob("*.json"))
    assert len(files) == 3  # with what all labels give
    for file in files:
        file.write_text("{")
    assert simulate(ready, asked).curves == report.curves
    simulate(ready, Asked(("margin",), seeds=1, batch=6))
    assert len(list((ready.private / FOLDER).glob("*.json"))) == 5


def test_a_forgotten_image_leaves_no_features_behind(ready: Project) -> None:
    """What the network saw in it is gone with it, and its split is not replayed any more."""
    simulate(ready, Asked(("margin",), seeds=1, batch=12))
    folder = ready.private / features.FOLDER
    (file,) = folder.iterdir()
    image = next(iter(sides(ready)[Side.TRAIN]))
    before = features.read(file)
    out(ready, image)
    assert len(features.read(file)) == len(before) - 1
    with pytest.raises(DatasetError, match="forgotten"):
        simulate(ready, Asked(("margin",), seeds=1, batch=12))


def test_the_text_has_the_same_figures(ready: Project, here: Cli) -> None:
    """Accuracy, what it is ahead of random, and labels needed, for each strategy with its interval."""
    command = ["simulate", "--strategies", "entropy", "--seeds", "2", "--batch", "12", "--project", ready.root]
    found = here(*command, "--json").json
    text = here(*command).out
    at = {
        (one["strategy"], one["labels"]): [c["accuracy"] for c in found["curves"] if matches(c, one)]
        for one in found["curves"]
    }
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("entropy"))
    for labels in (3, 15, 27, 36):
        assert f"{labels} labels" in text
        assert f"{mean_of(at['entropy', labels])}" in row
    share = next(one for one in found["saved"] if one["strategy"] == "entropy")["share"]["mean"]
    assert f"{share:.1%}" in text
    assert found["plot"] in text


def matches(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["strategy"], one["labels"]) == (other["strategy"], other["labels"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategies", "margins"], "no strategy 'margins'; there is: random, entropy"),
        (["--budget", "3"], "a budget of 3 labels; it takes more than the 3 of one image a class"),
        (["--budget", "37"], "the split has 36 images to learn from"),
        (["--seeds", "0"], "greater than or equal to 1"),
        (["--mode", "quick"], "'quick'"),
        (["-o", "plot.svg"], "name a file that ends in .png"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(ready: Project, here: Cli, arguments: list[str], words: str) -> None:
    """What is wrong and what there is, before any work."""
    ran = here("simulate", *arguments, "--project", ready.root)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert not (ready.private / FOLDER).exists()


def test_without_a_split_the_command_says_what_to_do(project: Project, here: Cli) -> None:
    """Nothing to replay: make a split."""
    ran = here("simulate", "--project", project.root)
    assert ran.code == 2
    assert "make one with `curate split`" in ran.err


def test_a_strategy_sees_what_a_person_would_have_labelled_so_far() -> None:
    """Labels of what came before, none of what is to come, the model's belief, and what each class still lacks."""
    data, linear = made()
    seen: list[Pool] = []

    def watch(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
        seen.append(pool)
        return named("random").choose(pool, count, rng)

    curve = replay(data, linear.learn, watch, seed=1, batch=20, budget=60)
    assert curve.labels == (3, 23, 43, 60)
    assert [len(pool.labelled) for pool in seen] == [3, 23, 43]
    for pool in seen:
        rows = pool.labelled
        assert sorted(rows.tolist()) == sorted(curve.order[: len(rows)])
        assert np.array_equal(pool.labels[rows], data.labels[rows])
        have = Counter(pool.labels[rows].tolist())
        assert pool.missing is not None
        assert pool.missing.tolist() == [20 - have[label] for label in range(3)]
        assert pool.probabilities is not None
        assert pool.probabilities.sum(1) == pytest.approx(np.ones(60))
    assert curve.accuracy[-1] > curve.accuracy[0]


def test_a_curve_depends_on_its_seed_alone() -> None:
    """The same seed gives the same curve again; the first images are one of each class."""
    data, linear = made()
    for name in STRATEGIES:
        one, same, other = (replay(data, linear.learn, named(name).choose, seed, 9, 60) for seed in (1, 1, 2))
        assert one == same
        assert one.order != other.order
        assert sorted(one.order) == list(range(60))
    assert data.labels[first_batch(data.labels, 5)].tolist() == [0, 1, 2]


def test_the_head_believes_nothing_of_classes_it_never_saw() -> None:
    """Probabilities add up to one over what was seen. What it learned before leaves no trace in what it learns next."""
    _, data = made()
    head = Head(3)
    two = np.flatnonzero(data.labels != 1)
    believed = head.learn(data.features[two], data.labels[two]).probabilities(data.validation)
    assert believed[:, 1].tolist() == [0.0] * 60
    assert believed.sum(1) == pytest.approx(np.ones(60))
    believed = head.learn(data.features, data.labels).probabilities(data.validation)
    assert (believed.argmax(1) == data.validation_labels).mean() > 0.7
    alone = Head(3).learn(data.features, data.labels).probabilities(data.validation)
    assert np.array_equal(believed, alone)
