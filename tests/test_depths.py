"""Features from several depths: of any network, the same for a picture and its mirror image, and of its last blocks."""

import numpy as np
import pytest
from torch import nn

from trainer.depths import blocks
from trainer.embed import Embedder
from trainer.network import build

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arch", "length"),
    [("squeezenet1_1", 256 + 2 * 384 + 2 * 512), ("resnet18", 128 + 2 * 256 + 2 * 512), ("mobilenet_v3_small", None)],
)
def test_the_last_blocks_are_pooled(arch: str, length: int | None) -> None:
    """One finite row a picture, as long as the five last blocks have channels; mirrored it is the same."""
    embedder = Embedder.load(arch, "none", 64, "cpu", deep=True)
    found = embedder.embed(PIXELS)
    assert found.shape[0] == 3
    assert length is None or found.shape[1] == length
    assert np.isfinite(found).all()
    assert np.abs(found - embedder.embed(np.ascontiguousarray(PIXELS[:, :, ::-1]))).max() < 1e-3
    assert embedder.name != Embedder.load(arch, "none", 64, "cpu").name


def test_blocks_are_what_a_network_repeats() -> None:
    """Fires of a SqueezeNet, basic blocks of a ResNet, whole; of what repeats nothing the single layers."""
    assert {type(block).__name__ for block in blocks(build("squeezenet1_1", 2, 64))} == {"Fire"}
    assert {type(block).__name__ for block in blocks(build("resnet18", 2, 64))} == {"BasicBlock"}
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    assert [type(block).__name__ for block in blocks(plain)] == ["Conv2d", "ReLU", "Conv2d", "Flatten", "Linear"]
