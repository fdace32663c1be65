"""`trainer.depth_head`: what a run answers by when it has learned, from several depths or from its last layer."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.learning import Heard, make_manifest, options
from trainer import network
from trainer.augment import to_input
from trainer.batches import cached_side, load
from trainer.cache import Pixels
from trainer.depth_head import DepthHead
from trainer.depths import Depths
from trainer.evaluate import Precision, outputs_of
from trainer.explain import explain
from trainer.finish import Final, finished
from trainer.manifest import VALIDATION, Manifest
from trainer.onnx_export import export_onnx
from trainer.predict import Predictor, read_run, read_validation
from trainer.run import train
from trainer.teacher import Teacher
from trainer.watch import SILENT

CPU = torch.device("cpu")
PLAIN = Precision(CPU, bfloat16=False)
WITHOUT = 2
"""Of three classes the one without an image to learn from."""


class TwoWays(nn.Module):
    """A network whose maps show what comes in or nothing, and whose last layer goes by the mean colour."""

    def __init__(self, *, shows: bool) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.classifier = nn.Linear(3, 2)
        self.shows = shows

    def forward(self, images: Tensor) -> Tensor:
        """Answer by the mean colour, whatever the maps are."""
        self.features(images * self.shows)
        answer: Tensor = self.classifier(images.mean((2, 3)))
        return answer


def final(tmp_path: Path, *, shows: bool, knows: bool) -> tuple[Final, list[str], bool]:
    """What a network answers by whose last layer tells two colours apart, or takes each for the other.

    Beside it what was said, and whether all images held out are told right.
    """
    data = load(make_manifest(tmp_path / "pictures"), options(), tmp_path / "cache", CPU, SILENT)
    torch.manual_seed(0)
    model, heard = TwoWays(shows=shows), Heard()
    colours = to_input(torch.from_numpy(np.array(data.train)), 32).mean((2, 3))
    red, green = (colours[data.train_labels == label].mean(0) for label in (0, 1))
    with torch.no_grad():
        towards = (green - red) * (1 if knows else -1)
        model.classifier.weight.copy_(torch.stack([-towards, towards]))
        middle = towards @ (red + green) / 2
        model.classifier.bias.copy_(torch.stack([middle, -middle]))
    found = finished(model, data, 2, 32, PLAIN, heard)
    return found, heard.lines, torch.equal(found.logits.argmax(1), data.validation_labels)


def test_several_depths_answer_where_they_know_more(tmp_path: Path) -> None:
    """And what is gained is said."""
    found, lines, right = final(tmp_path, shows=True, knows=False)
    assert found.head is not None
    assert right
    assert lines == ["answering by several depths: 1.000 of the images held out, 0.000 by the last layer alone"]
    assert found.bank.features.shape == (16, 4)


def test_the_last_layer_answers_where_depths_know_no_more(tmp_path: Path) -> None:
    """Without a word."""
    found, lines, right = final(tmp_path, shows=False, knows=True)
    assert found.head is None
    assert right
    assert lines == []


def test_the_last_layer_answers_where_depths_are_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has learned is not lost for it."""
    monkeypatch.setattr("trainer.depth_head.deep_features", lambda *_, **__: torch.full((16, 4), torch.nan))
    found, _, right = final(tmp_path, shows=True, knows=True)
    assert found.head is None
    assert right


@pytest.mark.parametrize("arch", ["squeezenet1_1", "resnet18", "vit_b_16"])
def test_a_head_reads_as_many_features_as_the_last_blocks_have(arch: str) -> None:
    """Of maps and of tokens alike, and it knows its weights again under their own names."""
    size = 224 if arch == "vit_b_16" else 64
    torch.manual_seed(0)
    model = network.build(arch, 3, size).eval()
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        depths = Depths.of(model, images)
        assert depths.read(model, images).shape == (2, depths.features)
    head = DepthHead(model, depths, 3).eval()
    again = DepthHead.blank(network.build(arch, 3, size), 3, head.as_dict()).eval()
    again.load(head.tensors())
    with torch.no_grad():
        assert torch.equal(again(images), head(images))
    assert set(model.state_dict()) <= set(head.tensors())


@pytest.fixture(scope="module", params=[("Red", "Green"), ("Red", "Green", "Blue")], ids=["two classes", "one without"])
def learned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A run that answers by several depths; also where a third class has no image to learn from, as in early rounds."""
    folder = tmp_path_factory.mktemp("learned")
    manifest = make_manifest(folder / "pictures", request.param)
    items = tuple(item for item in manifest.items if item.split == VALIDATION or item.label != WITHOUT)
    manifest = replace(manifest, items=items)
    train(manifest, options(epochs=5), folder / "run", folder / "cache")
    assert read_run(folder / "run")["depths"] is not None
    return folder, manifest


def test_a_run_loaded_again_answers_as_it_did_at_its_end(learned: tuple[Path, Manifest]) -> None:
    """But for rounding: on a CPU that multiplies bfloat16 it was validated in that."""
    folder, manifest = learned
    kept = read_validation(folder / "run")
    predictor = Predictor.load(folder / "run", "cpu", "torch")
    pixels = pixels_of(manifest, folder)
    logits, features = predictor.outputs(pixels)
    torch.testing.assert_close(logits, kept.logits, rtol=0.1, atol=0.05)
    assert features.shape[1] == read_run(folder / "run")["depths"]["features"]


def test_a_class_without_images_is_never_answered(learned: tuple[Path, Manifest]) -> None:
    """All others are, and whatever is said of it is a number."""
    folder, _ = learned
    kept, run = read_validation(folder / "run"), read_run(folder / "run")
    assert set(kept.logits.argmax(1).tolist()) == {0, 1}
    assert bool(functional.softmax(kept.logits / run["temperature"], dim=1).log().isfinite().all())
    assert math.isfinite(run["temperature"] + run["trust"]["ece_before"] + run["trust"]["ece_after"])


def pixels_of(manifest: Manifest, folder: Path) -> Pixels:
    """The images held out, decoded."""
    return load(manifest, options(), folder / "cache", CPU, SILENT).validation


def test_such_an_answer_is_explained_by_the_last_map_that_is_read(learned: tuple[Path, Manifest]) -> None:
    """Not by the maps of the last layer, which nobody asks."""
    folder, manifest = learned
    predictor = Predictor.load(folder / "run", "cpu", "torch")
    found = explain(predictor, pixels_of(manifest, folder)[:2], [None, None])
    assert all(one.evidence.max() == 1 or one.difference.max() == 1 for one in found)
    every = range(len(manifest.classes))
    asked = explain(predictor, pixels_of(manifest, folder)[: len(every)], [None for _ in every], towards=every)
    assert all(np.isfinite([one.evidence, one.difference]).all() for one in asked)


def test_such_a_run_is_served_and_exported_and_teaches(learned: tuple[Path, Manifest], tmp_path: Path) -> None:
    """By every means that answers: the same classes, whatever computes."""
    folder, manifest = learned
    pixels = pixels_of(manifest, folder)
    torch_says, openvino_says = (
        Predictor.load(folder / "run", "cpu", backend).answers(pixels) for backend in ("torch", "openvino")
    )
    assert [one.label for one in torch_says] == [one.label for one in openvino_says]
    for one, other in zip(torch_says, openvino_says, strict=True):
        assert one.features.shape == other.features.shape
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.05)
    assert export_onnx(folder / "run", tmp_path / "run.onnx", pixels).checked == len(pixels)
    teacher = Teacher.load(folder / "run", manifest.classes, "cpu", 1.0)
    targets = teacher.targets(to_input(torch.from_numpy(np.array(pixels)), 32))
    assert torch.allclose(targets.sum(1), torch.ones(len(pixels)))


def test_a_run_is_what_another_can_begin_with(learned: tuple[Path, Manifest], tmp_path: Path) -> None:
    """Its weights have the names of the network's own; those of the head are left."""
    folder, manifest = learned
    wanted = options(init=str(folder / "run" / "model.safetensors"), epochs=1)
    assert train(manifest, wanted, tmp_path / "run", tmp_path / "cache").epochs == 1


def test_small_differences_count_in_bfloat16_too() -> None:
    """What the head adds up is added up in full precision, whatever the network computes in."""
    torch.manual_seed(0)
    model = network.build("squeezenet1_1", 2, 64).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, cached_side(64), cached_side(64), 3), np.uint8)
    with torch.no_grad():
        depths = Depths.of(model, torch.rand(2, 3, 64, 64))
    head = DepthHead(model, depths, 2)
    head.answer.weight.data.fill_(10.0)
    head.answer.bias.data.copy_(torch.tensor([0.0, 0.25]))
    logits, _ = outputs_of(head, pixels, 64, Precision(CPU, bfloat16=True))
    assert (logits[:, 1] - logits[:, 0]).tolist() == pytest.approx([0.25, 0.25], abs=0.01)
