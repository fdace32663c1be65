"""`trainer.explain` and `curate explain`: maps that lie where the reasons are, and sheets that show them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from curate import explaining
from curate.explaining import Asked, explain_pictures, scribbled
from curate.heat import Row, percent, render
from curate.ingest.folder import import_folder
from curate.predicting import predict_files
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from db.errors import ConfigError, DatasetError
from tests.conftest import Cli
from tests.pictures import coloured, encoded, jpeg, picture, write_folder
from trainer import network
from trainer.augment import to_input
from trainer.cache import Pixels
from trainer.errors import WeightsError
from trainer.evaluate import Precision
from trainer.explain import class_maps, explain, runner_up
from trainer.predict import Answer, Predictor

CLASSES = ("Red", "Green", "Blue")
TRAINING = {
    "train__arch": '"resnet18"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "1",
    "train__device": '"cpu"',
    "dataset__validation": "2",
    "dataset__target": "5",
}
SIDE = 64


@pytest.fixture
def learned(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project of three classes with a finished run."""
    found = make_project(*CLASSES, **TRAINING)
    write_folder(tmp_path / "in", {name: range(5) for name in CLASSES})
    import_folder(found, tmp_path / "in", labels=True)
    split(found)
    train_run(found, options_from(found))
    return found


def _predictor(model: nn.Module, classes: tuple[str, ...] = CLASSES, size: int = SIDE) -> Predictor:
    return Predictor(classes, model, size, 1.0, 0.0, Precision(torch.device("cpu"), bfloat16=False))


def _by_colour() -> Predictor:
    """A network whose two classes are red and blue, and which takes green for a sign of both alike."""
    filters = nn.Conv2d(3, 3, 1, bias=False)
    filters.weight.data = torch.eye(3)[..., None, None]
    head = nn.Linear(3, 2, bias=False)
    head.weight.data = torch.tensor([[2.0, 3.0, 0.0], [0.0, 3.0, 2.0]])
    model = nn.Sequential(filters, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return _predictor(model, ("red", "blue"))


def _red_and_green() -> Pixels:
    """(1, 64, 64, 3): black, with red above on the left, and green below on the right."""
    pixels = np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[0, :32, :32, 0] = 255
    pixels[0, 32:, 32:, 1] = 255
    return pixels


def _quadrants(heat: np.ndarray) -> list[float]:  # type: ignore[type-arg]
    """Mean heat above left, above right, below left, below right."""
    return [float(heat[y : y + 32, x : x + 32].mean()) for y in (0, 32) for x in (0, 32)]


def test_the_map_lies_where_the_reasons_are_and_its_difference_where_only_one_class_has_any() -> None:
    """Red and green both speak for `red`; against `blue`, which green speaks for too, only red is left."""
    (found,) = explain(_by_colour(), _red_and_green(), [None])
    assert (found.answer.label, found.against) == (0, 1)
    red, *nothing, green = _quadrants(found.evidence)
    assert nothing == [0, 0]
    assert min(red, green) > 0.3
    red, *nothing, green = _quadrants(found.difference)
    assert red > 0.9
    assert nothing == [0, 0]
    assert green < 0.01


def test_a_class_that_is_not_the_answer_can_be_explained() -> None:
    """What speaks for `blue` is the green, and nothing speaks for it that does not speak for `red`, too."""
    (found,) = explain(_by_colour(), _red_and_green(), [0], [1])
    assert (found.answer.label, found.towards, found.against) == (0, 1, 0)
    *nothing, green = _quadrants(found.evidence)
    assert nothing == [0, 0, 0]
    assert green > 0.9
    assert not found.difference.any()
    (itself,) = explain(_by_colour(), _red_and_green(), [1], [1])
    assert itself.against == 0


def test_a_picture_in_a_mirror_has_its_maps_in_a_mirror() -> None:
    """Maps are of the answer as it is given: a mean over both."""
    torch.manual_seed(1)
    predictor = _predictor(network.build("squeezenet1_1", 3, SIDE))
    pixels = np.asarray(picture(3, (SIDE, SIDE)))[None]
    (straight,), (mirrored,) = (explain(predictor, p, [None]) for p in (pixels, pixels[:, :, ::-1].copy()))
    assert straight.answer.label == mirrored.answer.label
    assert np.allclose(straight.evidence, mirrored.evidence[:, ::-1], atol=1e-4)
    assert straight.evidence.max() == 1


@pytest.mark.parametrize(
    ("arch", "head"),
    [
        ("resnet18", "dense"),
        ("resnet18", "flat"),
        ("squeezenet1_1", "dense"),
        ("mobilenet_v3_small", "dense"),
        ("googlenet", "dense"),
        ("densenet121", "dense"),
        ("vit_b_32", "dense"),
        ("swin_t", "dense"),
        ("convnext_tiny", "dense"),
    ],
)
def test_every_kind_of_network_has_a_map(arch: str, head: str) -> None:
    """Convolutions, windows of tokens and tokens behind a class token alike, without a word on which layer it is."""
    torch.manual_seed(2)
    model = network.build(arch, 3, SIDE, head)
    for name, weight in model.named_parameters():
        if name in network.head_names(model):  # a vision transformer's is zero until it has learned
            nn.init.normal_(weight, std=0.1)
    images = to_input(torch.tensor(np.asarray(picture(5, (SIDE, SIDE)))[None]), SIDE)
    towards = torch.eye(3)[:, None]
    maps = class_maps(model, images, torch.cat([towards, towards[:1] - towards[1:2]]))
    assert maps.shape[2] == maps.shape[3] > 1
    assert maps.isfinite().all()
    # Not of every class: SqueezeNet ends in a ReLU, behind which a class may have nothing at all to say.
    assert (maps.amax((2, 3)) > maps.amin((2, 3))).any()
    assert torch.allclose(maps[3], maps[0] - maps[1], atol=1e-3 * maps.abs().max().item())
    (found,) = explain(_predictor(model), np.asarray(picture(5, (SIDE, SIDE)))[None], [None])
    for heat in (found.evidence, found.difference):
        assert heat.shape == (SIDE, SIDE)
        assert heat.min() >= 0
        assert heat.max() in {0, 1}


def test_a_map_is_nothing_where_nothing_speaks_for_the_answer() -> None:
    """On a black picture no colour speaks for anything: the map is zero, not noise blown up."""
    (found,) = explain(_by_colour(), np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8), [1])
    assert not found.evidence.any()
    assert not found.difference.any()


def test_a_network_without_places_is_refused() -> None:
    """One clear line, where a layer of numbers is all there is."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.raises(WeightsError, match="no layer whose outputs have places"):
        class_maps(model, torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 2))


def test_the_runner_up_is_another_class_even_when_both_are_equal() -> None:
    """The answer never explains itself against itself."""
    assert runner_up(Answer(0, 0.5, (0.5, 0.5), outside=False, outside_score=0.0)) == 1
    assert runner_up(Answer(1, 0.5, (0.1, 0.5, 0.4), outside=False, outside_score=0.0)) == 2


def test_a_scribble_is_the_same_for_a_seed_and_spoils_no_more_than_a_part() -> None:
    """Another seed draws another one; the picture given stays as it is; size changes nothing but the detail."""
    image = picture(1, (200, 120))
    before = image.tobytes()
    assert scribbled(image, 4).tobytes() == scribbled(image, 4).tobytes() != scribbled(image, 5).tobytes()
    assert image.tobytes() == before
    for seed in range(20):
        masks = []
        for size in ((100, 100), (400, 400)):
            black = Image.new("RGB", size)
            masks.append(scribbled(black, seed).convert("L").resize((50, 50)))
        small, large = (np.asarray(mask, dtype=float) > 0 for mask in masks)
        assert 0.02 < small.mean() < 0.5
        assert (small & large).sum() > 0.8 * min(small.sum(), large.sum())


def test_the_command_writes_a_sheet_and_tells_what_is_on_it(learned: Project, cli: Cli, tmp_path: Path) -> None:
    """Answers are those of `predict`; a bad file is told with its reason, the others are done, and the end is 1."""
    good = [tmp_path / f"{index}.jpg" for index in range(2)]
    for index, path in enumerate(good):
        path.write_bytes(encoded(coloured(index, 70, (90, 60))))
    (tmp_path / "bad.jpg").write_bytes(jpeg(1)[:400])
    sheet = tmp_path / "sheet.jpg"
    done = cli("explain", good[0], tmp_path / "bad.jpg", good[1], "-o", sheet, "--project", learned.root, "--json")
    assert done.code == 1
    assert done.json["files"] == [str(sheet)]
    assert [(f["path"], f["reason"]) for f in done.json["failures"]] == [(str(tmp_path / "bad.jpg"), "corrupt")]
    predicted = predict_files(learned, [str(path) for path in good])
    for explained, prediction in zip(done.json["explanations"], predicted.predictions, strict=True):
        assert (explained["path"], explained["label"]) == (prediction.path, prediction.label)
        assert explained["score"] == pytest.approx(prediction.score)
        assert explained["outside"] == prediction.outside
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
        assert [one["label"] for one in explained["top"]] == [name for name, _ in ranked]
        assert explained["runner_up"] == explained["against"] == ranked[1][0]
    with Image.open(sheet) as image:
        assert image.format == "JPEG"
        assert image.width > 900
        rows = image.height
    assert explain_pictures(learned, [str(good[0])], Asked()).files == [learned.root / "explained.png"]
    with Image.open(learned.root / "explained.png") as image:
        assert image.format == "PNG"
        assert image.height < rows


def test_what_cannot_be_explained_is_told_before_any_work(learned: Project, cli: Cli, tmp_path: Path) -> None:
    """A sheet of another kind, a class that is none, a picture or a run that is not there; the command ends with 2."""
    with pytest.raises(ConfigError, match="PNG or JPEG"):
        explain_pictures(learned, ["1"], Asked(output=tmp_path / "sheet.gif"))
    with pytest.raises(DatasetError, match="knows no class 'Purple'; it knows Red, Green, Blue"):
        explain_pictures(learned, ["1"], Asked(against="Purple"))
    with pytest.raises(DatasetError, match="no run '9999'"):
        explain_pictures(learned, ["1"], Asked(run="9999"))
    done = cli("explain", "gone.jpg", "--project", learned.root)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "no image 'gone.jpg'" in done.err
    assert not (learned.root / "explained.png").exists()


def test_where_no_picture_can_be_read_there_is_no_sheet(learned: Project, tmp_path: Path) -> None:
    """Each is told; nothing empty is written."""
    (tmp_path / "note.txt").write_text("no picture")
    report = explain_pictures(learned, [str(tmp_path / "note.txt")], Asked(output=tmp_path / "sheet.png"))
    assert (report.files, report.explanations) == ([], [])
    assert [refusal.reason.value for _, refusal in report.failures] == ["not_an_image"]
    assert not (tmp_path / "sheet.png").exists()


def test_a_class_can_be_named_to_tell_the_answer_from(learned: Project) -> None:
    """In any case of letters; where it is itself the answer, the runner-up takes its place. Images go by number too."""
    for name in CLASSES:
        (found,) = explain_pictures(learned, ["1"], Asked(against=name.upper())).explanations
        expected = found.reading.runner_up if name == found.reading.label else name
        assert found.reading.against == expected


def test_a_scribble_reports_the_answer_before_and_after(learned: Project, cli: Cli, tmp_path: Path) -> None:
    """`before` is the plain picture's answer; the same seed gives the same `after`, whatever stands beside."""
    folder = write_folder(tmp_path / "new", {name: range(60, 62) for name in CLASSES})
    plain = explain_pictures(learned, [str(folder)], Asked(tmp_path / "a.png"))
    done = cli("explain", folder, "--scribble", "--seed", 6, "--project", learned.root, "--json", check=True).json
    for one, before in zip(done["explanations"], plain.explanations, strict=True):
        scribble = one["scribble"]
        assert scribble["before"] == {"label": one["label"], "score": one["score"]}
        assert one["label"] == before.reading.label
        assert scribble["after"]["score"] != one["score"]
        assert scribble["flipped"] == (scribble["after"]["label"] != one["label"])
    last = done["explanations"][-1]
    (alone,) = explain_pictures(learned, [last["path"]], Asked(tmp_path / "b.png", scribble=6)).explanations
    assert alone.under_scribble is not None
    assert alone.under_scribble.score == pytest.approx(last["scribble"]["after"]["score"], abs=1e-5)
    with Image.open(learned.root / "explained.png") as both, Image.open(tmp_path / "a.png") as one_each:
        assert both.height > 1.7 * one_each.height


def test_a_flipped_answer_is_told_apart_from_the_one_before(
    learned: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scribble that makes any picture all blue flips the answer of a red one, and blue is explained against red."""
    monkeypatch.setattr(Predictor, "load", lambda _folder: _by_colour())
    monkeypatch.setattr(explaining, "scribbled", lambda image, _seed: Image.new("RGB", image.size, (0, 0, 255)))
    (tmp_path / "red.png").write_bytes(encoded(Image.new("RGB", (40, 40), (255, 0, 0)), "PNG"))
    (found,) = explain_pictures(learned, [str(tmp_path / "red.png")], Asked(scribble=1)).explanations
    assert found.flipped
    assert found.under_scribble is not None
    assert (found.reading.label, found.under_scribble.label, found.under_scribble.against) == ("red", "blue", "red")


def test_more_pictures_than_a_sheet_holds_go_on_the_next(
    learned: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their names count on, and every picture is on one of them."""
    monkeypatch.setattr(explaining, "_ROWS", 4)
    folder = write_folder(tmp_path / "new", {"Red": range(60, 69)})
    report = explain_pictures(learned, [str(folder)], Asked(tmp_path / "sheet.png"))
    assert [path.name for path in report.files] == ["sheet.png", "sheet-2.png", "sheet-3.png"]
    assert len(report.explanations) == 9
    assert all(path.exists() for path in report.files)


def test_names_are_drawn_as_they_are() -> None:
    """Dollars begin no formula, letters that no font has stop nothing, and long names are cut, not drawn outside."""
    heat = np.zeros((8, 8), dtype=np.float32)
    name = "$\\frac{ギター$" * 9
    row = Row(picture(1), name, name, "$", heat, heat, [(name, 1.0), ("$", 0.0)], outside=True)
    for image_format in ("png", "jpeg"):
        assert render(name[:40], [row], image_format)


def test_nearly_certain_never_reads_as_certain() -> None:
    """Shares are whole percents, with more care at both ends."""
    given = (0.0, 0.0001, 0.004, 0.01, 0.456, 0.99, 0.996, 0.9997)
    assert [percent(p) for p in given] == ["0.0%", "<0.1%", "0.4%", "1%", "46%", "99%", "99.6%", ">99.9%"]
