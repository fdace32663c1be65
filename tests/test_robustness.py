"""`curate robustness`: what each corruption costs a network, told exactly, as a table, as JSON and as a picture."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from curate.ingest.folder import import_folder
from curate.project import Project
from curate.robustness import measure_run
from curate.split import split
from curate.training import manifest_of, options_from, train_run
from db.errors import ConfigError, DatasetError
from tests.conftest import Cli
from tests.pictures import write_folder
from trainer.cache import Pixels
from trainer.corrupt import CORRUPTIONS
from trainer.evaluate import Precision
from trainer.intervals import wilson
from trainer.manifest import VALIDATION
from trainer.predict import Answer, Predictor
from trainer.robustness import measure
from trainer.watch import Silent

SIDE = 48


class Looks(nn.Module):
    """A network that answers by one thing it measures: class 1 where that is above a threshold."""

    def __init__(self, at: Callable[[Tensor], Tensor], threshold: float) -> None:
        super().__init__()
        self.at, self.threshold = at, threshold
        self.last = nn.Linear(2, 2, bias=False)
        self.last.weight.data = torch.eye(2)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs for (B, 3, H, W), (B, 2)."""
        found = self.at(images).flatten(1).mean(1) - self.threshold
        answer: Tensor = self.last(torch.stack([-found, found], dim=1))
        return answer


def predictor(network: nn.Module) -> Predictor:
    """A run of that network."""
    return Predictor(("no", "yes"), network, SIDE, 1.0, 0.0, Precision(torch.device("cpu"), bfloat16=False))


def level(images: Tensor) -> Tensor:
    return images[:, 1]


def texture(images: Tensor) -> Tensor:
    return images.diff(dim=2).abs()


def upper_half(images: Tensor) -> Tensor:
    return images[:, :, : SIDE // 2] - images[:, :, SIDE // 2 :]


def gray(values: list[int]) -> Pixels:
    return np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in values])


def accuracies(network: nn.Module, pixels: Pixels, labels: list[int], *names: str) -> dict[str, list[float]]:
    """Accuracy at each strength, by corruption."""
    found = measure(predictor(network), pixels, labels, names)
    assert found.clean == found.images == len(labels)
    by_name: dict[str, list[float]] = {name: [] for name in names}
    for one in found.measured:
        by_name[one.corruption].append(one.right / found.images)
    return by_name


def test_who_looks_at_brightness_loses_by_brightness_alone() -> None:
    """Dark gray made twice as bright passes for light gray, and light made half as bright for dark; nothing else does.

    Between 0.3 and 0.7, threshold 0.5, a coin decides whether a picture crosses: from a factor of 5/3 on about half do.
    """
    labels = [0, 1] * 20
    network = Looks(level, (0.5 - 0.456) / 0.224)
    found = accuracies(network, gray([77, 178] * 20), labels, "blur", "jpeg", "rotation", "brightness")
    assert found["blur"] == found["jpeg"] == found["rotation"] == [1.0] * 5
    assert found["brightness"][0] == 1.0
    assert all(0.25 < accuracy < 0.75 for accuracy in found["brightness"][2:])


def test_who_looks_at_texture_loses_by_blur() -> None:
    """Stripes blurred to gray pass for gray; at the two hardest strengths none is left."""
    striped = np.zeros((SIDE, SIDE, 3), np.uint8)
    striped[::4], striped[1::4] = 255, 255
    pixels = np.stack([*gray([128] * 6), *[striped] * 6])
    found = accuracies(Looks(texture, 1.0), pixels, [0] * 6 + [1] * 6, "blur", "rotation")
    assert found["blur"] == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert found["rotation"][0] == 1.0


def test_who_looks_for_what_is_above_loses_by_rotation() -> None:
    """Up to 45 degrees the light half is still above; turned by 90 it is beside."""
    light_above = np.zeros((SIDE, SIDE, 3), np.uint8)
    light_above[: SIDE // 2] = 255
    pixels = np.stack([light_above, light_above[::-1]] * 5)
    found = accuracies(Looks(upper_half, 0.0), pixels, [1, 0] * 5, "rotation", "blur", "brightness")
    assert found["rotation"][:4] == [1.0] * 4
    assert found["rotation"][4] <= 0.5
    assert found["blur"] == found["brightness"] == [1.0] * 5


def test_a_corruption_is_measured_alike_whatever_is_measured_beside_it() -> None:
    """Same pictures, same strokes: figures of different networks and of different calls can be compared."""
    pixels, labels = gray([100, 150] * 40), [0, 1] * 40
    network = Looks(level, (0.49 - 0.456) / 0.224)
    alone, beside = (accuracies(network, pixels, labels, *names) for names in (["scribble"], ["noise", "scribble"]))
    assert alone["scribble"] == beside["scribble"]
    assert len(set(alone["scribble"])) > 1


class Counts(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def begin(self, name: str, total: int) -> None:  # noqa: ARG002 - the watcher's signature
        """Keep the total."""
        self.total += total

    def advance(self, images: int) -> None:
        """Count."""
        self.done += images


def test_progress_ends_where_it_said_it_would() -> None:
    """Every picture counts once as it is, and once a strength."""
    counts = Counts()
    measure(predictor(Looks(level, 0.0)), gray([100] * 70), [0] * 70, ["jpeg", "blur"], counts)
    assert counts.total == counts.done == 70 * 11


@pytest.fixture
def learned(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a run on small pictures of two classes."""
    settings = {"arch": '"squeezenet1_1"', "init": '"none"', "size": "32", "epochs": "1", "device": '"cpu"'}
    found = make_project(
        "Red",
        "Green",
        dataset__validation="4",
        dataset__target="8",
        **{f"train__{key}": value for key, value in settings.items()},
    )
    write_folder(tmp_path / "in", {"Red": range(8), "Green": range(8)})
    import_folder(found, tmp_path / "in", labels=True)
    split(found)
    train_run(found, options_from(found))
    return found


def test_the_command_measures_a_run_on_the_images_it_was_validated_on(
    learned: Project, cli: Cli, tmp_path: Path
) -> None:
    """JSON with every corruption, its strengths and intervals, how right its plain answers are, a plot that opens."""
    ran = cli("robustness", "--project", learned.root, "--json", check=True)
    found = ran.json
    assert (found["run"], found["images"]) == ("0001-squeezenet1_1", 8)
    held_out = manifest_of(learned, 1).side(VALIDATION)
    answers = Predictor.load(learned.runs / found["run"]).stream(item.path.read_bytes for item in held_out)
    right = [
        answer.label == item.label for answer, item in zip(answers, held_out, strict=True) if isinstance(answer, Answer)
    ]
    assert (found["clean"], len(right)) == (sum(right) / 8, 8)
    assert list(found["corruptions"]) == list(found["strengths"]) == list(CORRUPTIONS) == list(found["units"])
    for name, strengths in found["strengths"].items():
        assert [one["strength"] for one in strengths] == list(CORRUPTIONS[name].strengths)
        assert found["corruptions"][name] == pytest.approx(sum(one["accuracy"] for one in strengths) / 5)
        for one in strengths:
            assert (one["low"], one["high"]) == pytest.approx(wilson(one["accuracy"] * 8, 8))
    assert found["plot"] == str(learned.runs / found["run"] / "robustness.png")
    with Image.open(found["plot"]) as plot:
        assert (plot.format, plot.width > 1000, plot.height > 500) == ("PNG", True, True)
    again = cli("robustness", "--only", "jpeg", "-o", tmp_path / "deep" / "a.png", "--project", learned.root)
    assert again.code == 0
    jpeg = found["strengths"]["jpeg"]
    row = next(line for line in again.out.splitlines() if line.startswith("jpeg"))
    assert [f"{one['strength']}: {one['accuracy']:.3f}" in row for one in jpeg] == [True] * 5
    assert "blur" not in again.out
    assert (tmp_path / "deep" / "a.png").read_bytes() != Path(found["plot"]).read_bytes()
    assert "decoding" not in ran.err  # what training decoded is used


def test_what_cannot_be_measured_is_told_before_any_work(learned: Project, cli: Cli, tmp_path: Path) -> None:
    """An unknown corruption, run or kind of plot: one line that says what there is, and exit code 2."""
    ran = cli("robustness", "--only", "blurr", "--project", learned.root)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "no corruption 'blurr'; there is: scribble, occlusion, noise, blur, jpeg, brightness, rotation" in ran.err
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        measure_run(learned, plot=tmp_path / "plot.svg")
    with pytest.raises(DatasetError, match="no run 'none'"):
        measure_run(learned, run="none")
    assert not list(learned.runs.glob("*/robustness.png"))


def test_the_plot_says_what_was_measured(learned: Project) -> None:
    """The same run gives the same picture; of one corruption alone it is narrower than of two, with their means."""
    one = measure_run(learned, only=["blur"])
    drawn = one.plot.read_bytes()
    assert measure_run(learned, only=["blur"]).plot.read_bytes() == drawn
    two = measure_run(learned, only=["blur", "jpeg"])
    sizes = [Image.open(io.BytesIO(data)).size for data in (drawn, two.plot.read_bytes())]
    assert sizes[1][0] == pytest.approx(3 * sizes[0][0], abs=3)
    assert list(two.corruptions) == ["blur", "jpeg"]
