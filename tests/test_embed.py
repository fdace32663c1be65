"""Features of images by the pretrained network: computed once, kept by network and image, and forgotten."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.learning import make_manifest
from trainer.batches import cached_side
from trainer.cache import load
from trainer.embed import Embedder, embed
from trainer.features import discard, read
from trainer.manifest import Item
from trainer.watch import Silent


class Counts(Silent):
    """Keeps how many images were embedded."""

    def __init__(self) -> None:
        self.embedded = 0

    def begin(self, name: str, total: int) -> None:
        """Count what is announced."""
        if name == "embedding":
            self.embedded += total


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """A dozen pictures of two tints."""
    return list(make_manifest(tmp_path / "in", train=4, held=2).items)


@pytest.fixture
def embedder() -> Embedder:
    """A small network with random weights."""
    return Embedder.load("squeezenet1_1", "none", 32, "cpu")


def test_features_are_what_the_last_layer_sees(items: list[Item], embedder: Embedder, tmp_path: Path) -> None:
    """The mean over the last feature map, and over a picture and its mirror image, in the order asked for."""
    found = embed(embedder, items, tmp_path / "pixels", tmp_path / "kept")
    assert found.shape == (12, 512)
    assert found.dtype == np.float32
    squares = load(items, cached_side(32), tmp_path / "other")
    assert embedder.embed(squares) == pytest.approx(found, abs=1e-5)
    assert embedder.embed(squares[:, :, ::-1].copy()) == pytest.approx(found, abs=1e-4)
    backwards = embed(embedder, items[::-1], tmp_path / "pixels", tmp_path / "kept")
    assert np.array_equal(backwards[::-1], found)


def test_each_image_is_computed_once(items: list[Item], embedder: Embedder, tmp_path: Path) -> None:
    """What is kept is taken; of a larger set only what is new is computed, and a damaged file is made again."""
    counts = Counts()
    first = embed(embedder, items[:8], tmp_path / "pixels", tmp_path / "kept", counts)
    again = embed(embedder, items[:8], tmp_path / "pixels", tmp_path / "kept", counts)
    assert np.array_equal(first, again)
    assert counts.embedded == 8
    every = embed(embedder, items, tmp_path / "pixels", tmp_path / "kept", counts)
    assert counts.embedded == 12
    assert np.array_equal(every[:8], first)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert embed(embedder, items, tmp_path / "pixels", tmp_path / "kept", counts) == pytest.approx(every, abs=1e-5)
    assert counts.embedded == 24


def test_features_of_one_network_are_not_those_of_another(embedder: Embedder, tmp_path: Path) -> None:
    """The name tells weights, architecture and size; the same weights have the same name, whatever was drawn before."""
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert Embedder.load("squeezenet1_1", "none", 32, "cpu").name == embedder.name
    assert torch.equal(torch.get_rng_state(), state)
    assert Embedder.load("squeezenet1_1", "none", 64, "cpu").name != embedder.name
    weights = tmp_path / "w.safetensors"
    changed = {name: weight + 0.01 for name, weight in embedder.model.state_dict().items()}
    save_file({name: weight.contiguous() for name, weight in changed.items()}, weights)
    assert Embedder.load("squeezenet1_1", str(weights), 32, "cpu").name != embedder.name


def test_what_is_forgotten_leaves_no_features(items: list[Item], embedder: Embedder, tmp_path: Path) -> None:
    """Those of the others stay; a file without any goes."""
    found = embed(embedder, items, tmp_path / "pixels", tmp_path / "kept")
    discard(tmp_path / "kept", {"0" * 64})
    (file,) = (tmp_path / "kept").iterdir()
    assert len(read(file)) == len(items)
    discard(tmp_path / "kept", {items[3].sha256})
    left = read(file)
    assert left.keys() == {item.sha256 for item in items} - {items[3].sha256}
    assert np.array_equal(left[items[4].sha256], found[4])
    discard(tmp_path / "kept", left.keys())
    assert list((tmp_path / "kept").iterdir()) == []
