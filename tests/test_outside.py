"""What is none of the classes: far from all of them in what the network sees, whatever it answers."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from curate.ingest.folder import import_folder
from curate.predicting import predict_files
from curate.project import Project
from curate.split import split
from tests.conftest import Cli
from tests.learning import make_manifest, options
from tests.pictures import write_folder
from trainer import network
from trainer.cache import Pixels
from trainer.checkpoint import read_checked
from trainer.errors import WeightsError
from trainer.evaluate import Precision, logits_of, outputs_of
from trainer.outside import BANK_FILE, Bank, Outsiders, border, sample, scores_by_softmax
from trainer.predict import Predictor, read_run
from trainer.run import train

CPU = Precision(torch.device("cpu"), bfloat16=False)
AT_ZERO = Bank.of(torch.zeros(1, 1))
"""From its one image, every feature is its own distance."""
SMALL = {
    "train__arch": '"resnet18"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "4",
    "train__device": '"cpu"',
    "dataset__validation": "12",
    "dataset__target": "28",
}
"""Settings of a project whose network is trained in seconds."""


def clusters(count: int, features: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of two classes, wide along the first axis and narrow along the others; and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    spread = torch.tensor([5.0] + [0.5] * (features - 1))
    found = torch.randn(count, features, generator=generator) * spread
    found[:, 1] += 10 * labels
    return found, labels


def test_a_distance_is_that_from_the_nearest_known_image() -> None:
    """Exactly, also far from the origin, and 0 for an image of the bank itself."""
    bank = Bank.of(torch.tensor([[0.0, 0], [10.0, 0], [2000.0, 2000.0]]))
    asked = torch.tensor([[3.0, 4], [10.0, 2], [2000.0, 2000.0], [2003.0, 2000.0]])
    assert bank.distances(asked).tolist() == pytest.approx([5, 2, 0, 3])
    kept = Bank.from_tensors(bank.tensors())
    assert torch.equal(kept.distances(asked), bank.distances(asked))
    assert torch.isfinite(Bank.of(torch.tensor([[1e6]])).distances(torch.tensor([[1e6]]))).all()


def test_a_far_cluster_is_outside_and_a_new_image_of_a_class_is_not() -> None:
    """Also where the network is sure of the far ones: 95 % of the near are inside, all of the far outside."""
    bank = Bank.of(clusters(400)[0])
    held, labels = clusters(200, seed=1)
    logits = 4 * functional.one_hot(labels, 2).float()
    found = border(bank, held, logits, labels, 1.0)
    assert found is not None
    near = found.scores(bank, clusters(200, seed=2)[0], torch.full((200,), 0.98))
    assert float((near > 0.5).float().mean()) < 0.1
    far = clusters(50, seed=3)[0] + torch.tensor([0.0, 0, 20, 0, 0, 0, 0, 0])
    scores = found.scores(bank, far, torch.full((50,), 0.999))
    assert bool((scores > 0.5).all())
    assert bool((scores < 1).all())


@pytest.mark.parametrize(("learned", "fewest", "most"), [(0, 0.0, 0.2), (5, 0.85, 1.0)])
def test_a_few_known_outsiders_tell_others_of_their_kind(learned: int, fewest: float, most: float) -> None:
    """Near the classes, where distances do not tell them; and no more of what is inside is lost.

    What is far in another direction is outside as before.
    """
    width = 24
    known, labels = clusters(400, width)
    strangers = clusters(60, width, seed=5)[0]
    strangers[:, 2] += 2
    far = clusters(50, width, seed=3)[0]
    far[:, 4] += 30
    held, answers = clusters(200, width, seed=1)
    bank = Bank.of(known, Outsiders.learn(known, labels, strangers[:learned]))
    bank = Bank.from_tensors(bank.tensors())
    found = border(bank, held, 4 * functional.one_hot(answers, 2).float(), answers, 1.0)
    assert found is not None

    def outside(features: Tensor) -> float:
        return float((found.scores(bank, features, torch.full((len(features),), 0.98)) > 0.5).float().mean())

    assert outside(clusters(200, width, seed=2)[0]) < 0.1
    assert fewest <= outside(strangers[5:]) <= most
    assert outside(far) == 1


def test_features_that_are_no_numbers_teach_nothing_of_outsiders() -> None:
    """Nor do no images at all; a class without an image to learn from does no harm."""
    known, labels = clusters(40)
    assert Outsiders.learn(known, labels, known[:0]) is None
    assert Outsiders.learn(known, labels, torch.full((1, 8), torch.nan)) is None
    found = Outsiders.learn(known, labels * 5, known[:3])
    assert found is not None
    assert found.margins(known).shape == (40,)


def test_doubt_counts_as_well_as_distance() -> None:
    """At one distance, the less probable answer is further outside."""
    labels = clusters(200)[1]
    logits = 3 * functional.one_hot(labels, 2).float() + 0.5 * torch.randn(200, 2)
    found = border(AT_ZERO, torch.rand(200, 1), logits, labels, 1.0)
    assert found is not None
    scores = found.scores(AT_ZERO, torch.full((3, 1), 0.5), torch.tensor([0.99, 0.7, 0.5]))
    assert scores.tolist() == sorted(set(scores.tolist()))


def test_a_handful_of_right_answers_draws_no_border() -> None:
    """Nineteen are too few to tell the farthest twentieth; wrong answers do not count."""
    labels = torch.zeros(40, dtype=torch.long)
    logits = torch.tensor([[2.0, 0.0]] * 19 + [[0.0, 2.0]] * 21)
    assert border(AT_ZERO, torch.rand(40, 1), logits, labels, 1.0) is None
    logits[19] = torch.tensor([2.0, 0.0])
    assert border(AT_ZERO, torch.rand(40, 1), logits, labels, 1.0) is not None


def test_the_sample_of_a_large_set_has_each_class_in_its_share() -> None:
    """A thousand of three thousand, no row twice; a small set is taken whole."""
    labels = torch.tensor([0, 1, 2] * 900 + [0] * 300)
    rows = sample(labels)
    assert len(rows) == len(set(rows.tolist())) == 1000
    assert np.bincount(labels[rows]).tolist() == [400, 300, 300]
    assert sample(torch.tensor([1, 0, 1])).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arch", "head", "width"),
    [
        ("squeezenet1_1", "dense", 512),
        ("resnet18", "dense", 512),
        ("resnet18", "flat", 2048),
        ("vit_b_32", "dense", 768),
    ],
)
def test_features_are_what_the_last_layer_sees(arch: str, head: str, width: int) -> None:
    """Of every kind of network, one row an image, beside outputs that are the same with and without looking."""
    torch.manual_seed(1)
    model = network.build(arch, 3, 64, head)
    pixels: Pixels = np.random.default_rng(0).integers(0, 255, (3, 73, 73, 3), np.uint8)
    logits, features = outputs_of(model, pixels, 64, CPU, batch_size=2)
    assert features.shape == (3, width)
    torch.testing.assert_close(logits, logits_of(model, pixels, 64, CPU), atol=1e-5, rtol=1e-5)
    if arch == "resnet18" and head == "dense":  # one linear layer over them gives the outputs
        weights = model.state_dict()
        again = functional.linear(features, weights["fc.weight"], weights["fc.bias"])
        torch.testing.assert_close(again, logits, atol=1e-4, rtol=1e-4)


def test_a_flattened_map_of_many_numbers_is_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of a head `flat` on a large picture stay small."""
    monkeypatch.setattr("trainer.evaluate._MOST_FEATURES", 1000)
    model = network.build("resnet18", 2, 64, "flat")
    assert outputs_of(model, np.zeros((1, 64, 64, 3), np.uint8), 64, CPU)[1].shape == (1, 1024)


ON_ONE_RUN = pytest.mark.xdist_group("outside")
"""In one process: another would train the run once more."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on tinted pictures, with images enough held out for a border."""
    folder = tmp_path_factory.mktemp("outside")
    manifest = make_manifest(folder / "images", train=24, held=16)
    chosen = options(arch="resnet18", epochs=6)
    train(manifest, chosen, folder / "run", folder / "cache")
    return folder / "run"


@ON_ONE_RUN
def test_a_picture_unlike_all_is_outside(run: Path) -> None:
    """Black and white stripes are; most pictures that were held out are not, and scores say how far."""
    predictor = Predictor.load(run, "cpu")
    stripes = np.zeros((1, 37, 37, 3), np.uint8)
    stripes[:, ::4] = 255
    (answer,) = predictor.answers(stripes)
    assert answer.outside
    assert 0.5 < answer.outside_score < 1
    assert sum(answer.probabilities) == pytest.approx(1)
    sources = [path.read_bytes for path in sorted((run.parent / "images").glob("*.jpg"))]
    known = list(predictor.stream(sources))
    assert sum(not isinstance(a, Exception) and not a.outside for a in known) >= 0.85 * len(known)


@ON_ONE_RUN
def test_a_run_says_how_far_it_can_be_trusted(run: Path) -> None:
    """run.json holds intervals, calibration errors, thresholds and the border; each number within 0 and 1."""
    found = read_run(run)
    trust = found["trust"]
    assert trust["accuracy"] == found["validation_accuracy"]
    low, high = trust["accuracy_interval"]
    assert 0 <= low <= trust["accuracy"] <= high <= 1
    assert all(0 <= trust[f"ece_{name}"] <= 1 for name in ("before", "after", "chance"))
    assert list(trust["thresholds"]) == list(trust["classes"]) == found["classes"]
    assert np.sum(trust["confusion"]) == found["validation_images"]
    assert set(found["outside"]["border"]) == {"distance", "doubt", "at", "margin"}
    width = found["depths"]["features"] if found["depths"] else 512
    assert read_checked(run / BANK_FILE, found["outside"]["sha256"])["features"].shape == (48, width)


@ON_ONE_RUN
def test_a_bank_that_was_altered_is_refused(run: Path, tmp_path: Path) -> None:
    """As weights are, by its hash."""
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / BANK_FILE).read_bytes())
    data[-5] ^= 1
    (tmp_path / BANK_FILE).write_bytes(data)
    with pytest.raises(WeightsError, match="was altered or cut off"):
        Predictor.load(tmp_path)


@ON_ONE_RUN
def test_a_run_from_before_answers_as_it_did(run: Path, tmp_path: Path) -> None:
    """Without a bank, what is less probable than nearly all right answers is outside, as it was."""
    record = read_run(run)
    del record["trust"], record["outside"]
    for below in (0.0, 1.0):
        (tmp_path / "run.json").write_text(json.dumps({**record, "outside_below": below}))
        (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
        predictor = Predictor.load(tmp_path, "cpu")
        (answer,) = predictor.answers(np.zeros((1, 37, 37, 3), np.uint8))
        assert answer.outside == (answer.score < below)
    scores = scores_by_softmax(torch.tensor([1.0, 0.6, 0.4]), 0.5)
    assert (scores > 0.5).tolist() == [False, False, True]


def test_train_and_predict_say_it_on_the_command_line(
    make_project: Callable[..., Project], cli: Cli, tmp_path: Path
) -> None:
    """`train` gives accuracy with its interval and both calibration errors; `predict` the class nearest."""
    project = make_project("Red", "Green", **{**SMALL, "train__arch": '"squeezenet1_1"'})
    write_folder(tmp_path / "in", {"Red": range(28), "Green": range(28)})
    import_folder(project, tmp_path / "in", labels=True)
    split(project)
    done = cli("train", "--project", project.root, "--json", check=True).json
    low, high = done["best"]["interval"]
    assert low <= done["best"]["validation_accuracy"] <= high
    assert set(done["calibration_error"]) == {"before", "after"}
    report = predict_files(project, [str(tmp_path / "in")])
    said = cli("predict", tmp_path / "in", "--project", project.root, check=True).out
    for p in report.predictions:
        assert p.outside == (p.outside_score > 0.5)
        assert p.nearest == (p.label if p.outside else None)
    assert said.count("none of these, nearest") == sum(p.outside for p in report.predictions)


def test_images_said_to_be_of_no_class_teach_what_lies_outside(
    make_project: Callable[..., Project], cli: Cli, tmp_path: Path
) -> None:
    """From the folder of their name to the report of `train`, and on to answers for pictures not seen before."""
    project = make_project("Red", "Green", **SMALL)
    seeds = {"Red": range(28), "Green": range(28), "None of these": range(28)}
    cli("import", write_folder(tmp_path / "in", seeds), "--labels", "folder", "--project", project.root, check=True)
    done = cli("split", "--project", project.root, "--json", check=True).json
    assert done["outsiders"] == {"train": 16, "validation": 12, "reserve": 0, "missing": 0}
    assert cli("split", "--project", project.root, check=True).out.count("none of these") == 1
    done = cli("train", "--project", project.root, "--json", check=True).json
    assert (done["outsiders"]["learned"], done["outsiders"]["held_out"]) == (16, 12)
    assert done["outsiders"]["found"] >= 9
    told = cli("evaluate", "--project", project.root, "--json", check=True).json
    assert told["outsiders"] == done["outsiders"]
    assert "of no class, and told as such" in Path(told["file"]).read_text()
    with (project.runs / done["run"] / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter((row["label"], row["split"]) for row in rows if not row["label"]) == {
        ("", "outside-train"): 16,
        ("", "outside-validation"): 12,
    }
    new = {"Red": range(100, 120), "Green": range(100, 120), "new": range(100, 120)}
    folder = write_folder(tmp_path / "new", new)
    outside = {name: sum(p.outside for p in predict_files(project, [str(folder / name)]).predictions) for name in new}
    assert outside["new"] >= 15
    assert outside["Red"] + outside["Green"] <= 8
