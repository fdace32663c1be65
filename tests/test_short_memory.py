"""Devices whose memory is too short for a batch, to learn from and to answer for: slower, and the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.learning import Heard, make_manifest, options
from trainer import network
from trainer.batches import cached_side, load
from trainer.depths import deep_features
from trainer.epoch import train_epoch
from trainer.errors import TrainerError
from trainer.evaluate import Precision, outputs_of
from trainer.manifest import Manifest
from trainer.optimise import EMA, make_optimizer
from trainer.parallel import Crew
from trainer.predict import read_run
from trainer.recipes import FAST
from trainer.run import train
from trainer.state import State
from trainer.watch import SILENT, Watcher

CPU = torch.device("cpu")
PLAIN = Precision(CPU, bfloat16=False)
STEADY = replace(FAST, batch_size=8, mixup=0.0, cutmix=0.0)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path / "pictures")


class Short(nn.Module):
    """A network without dropout and batch norms, on a device whose memory holds so many pictures at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.features = nn.Conv2d(3, 4, 5, stride=4)
        self.classifier = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Run out of memory, or answer."""
        if len(images) > self.room:
            raise torch.OutOfMemoryError
        answer: Tensor = self.classifier(self.features(images).relu().mean((2, 3)))
        return answer


def one_epoch(manifest: Manifest, folder: Path, room: int, watcher: Watcher = SILENT) -> tuple[State, float]:
    """Learn for one epoch on a device of little memory."""
    wanted = options(recipe=STEADY)
    torch.manual_seed(0)
    model = Short(room)
    optimizer = make_optimizer(model, {"classifier.weight", "classifier.bias"}, wanted.recipe)
    state = State(model, model, optimizer, EMA(model, wanted.recipe.ema_decay), classes=2, epoch=1)
    data = load(manifest, wanted, folder / "cache", CPU, SILENT)
    return state, train_epoch(state, data, wanted, PLAIN, watcher, Crew())


def test_where_memory_is_short_a_batch_is_learned_from_in_parts(manifest: Manifest, tmp_path: Path) -> None:
    """Quarters of a batch give the step that all of it at once gives, and it is said once."""
    heard = Heard()
    whole, loss = one_epoch(manifest, tmp_path, room=8)
    parted, parted_loss = one_epoch(manifest, tmp_path, room=2, watcher=heard)
    assert heard.lines == [
        "cpu has too little memory for batches of 8: gradients are added up over 4 parts of each, which takes longer"
    ]
    assert (whole.parts, parted.parts) == (1, 4)
    assert parted_loss == pytest.approx(loss)
    assert parted.steps == whole.steps
    for ours, theirs in zip(parted.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_memory_too_short_for_two_pictures_is_told(manifest: Manifest, tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(TrainerError, match=r"too little memory for squeezenet1_1 at 32 pixels.* smaller --size"):
        one_epoch(manifest, tmp_path, room=1)


@pytest.mark.parametrize("read", [deep_features, lambda *asked: torch.cat(outputs_of(*asked), dim=1)])
def test_where_memory_is_short_smaller_batches_are_answered_for(read: Callable[..., Tensor]) -> None:
    """Three of ten pictures and their mirror images at most: the same is said of each, in the same order."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, cached_side(32), cached_side(32), 3), np.uint8)
    torch.manual_seed(0)
    model = Short(room=20)
    whole = read(model, pixels, 32, PLAIN)
    model.room = 6
    torch.testing.assert_close(read(model, pixels, 32, PLAIN), whole)
    model.room = 1
    with pytest.raises(TrainerError, match=r"too little memory for a single picture; take a smaller --size"):
        read(model, pixels, 32, PLAIN)


def test_a_run_on_a_device_of_little_memory_comes_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it learns from labels or from what a teacher says: validation, depths and the teacher find room, too."""
    build = network.build

    def short(*arguments: Any, **more: Any) -> nn.Module:  # noqa: ANN401 - the trainer's
        model = build(*arguments, **more)
        model.register_forward_pre_hook(refuse)
        return model

    def refuse(_: nn.Module, given: tuple[Tensor]) -> None:
        if len(given[0]) > 4:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(network, "build", short)
    manifest = make_manifest(tmp_path / "pictures", train=64)
    for name, more in (("first", {}), ("second", {"teacher": "first"})):
        heard = Heard()
        train(manifest, options(epochs=1, **more), tmp_path / name, tmp_path / "cache", heard)
        assert heard.lines[0].startswith("cpu has too little memory for batches of 8")
        assert sum("memory" in line for line in heard.lines) == 1
        assert read_run(tmp_path / name)["epochs"] == 1
