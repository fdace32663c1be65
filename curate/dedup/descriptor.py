"""What a small network sees in a picture, as one short vector: copies lie nearer to each other than by layout alone.

SqueezeNet 1.1's features (Iandola et al. 2016), of the gray picture and of its mirror image, pooled by generalised
means (Radenovic, Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2018).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curate.dedup.layout import Vector, as_bytes
from curate.dedup.picture import Rgb
from db.errors import ConfigError
from trainer.augment import MEAN, STD
from trainer.errors import WeightsError
from trainer.network import build, initialise, pick_device, place
from trainer.precision import choose_precision

_ARCH = "squeezenet1_1"
_SIDE = 160
_POWER = 3.0
"""Of the generalised mean: towards the strongest answers of the network, which a watermark elsewhere leaves alone."""
_AT_ONCE = 32


@dataclass(frozen=True)
class Descriptor:
    """A network with its weights; `name` tells vectors of one from those of another."""

    name: str
    network: nn.Module
    device: torch.device
    length: int = 512
    """Bytes of a vector."""

    def describe(self, pictures: Sequence[Rgb]) -> Vector:
        """Describe pictures of any shape (height, width, 3); shape (n, length)."""
        found = [self._some(pictures[start : start + _AT_ONCE]) for start in range(0, len(pictures), _AT_ONCE)]
        return np.concatenate(found) if found else np.empty((0, self.length), np.int8)

    def _some(self, pictures: Sequence[Rgb]) -> Vector:
        images = torch.from_numpy(np.stack([_gray(picture) for picture in pictures])).to(self.device)
        scaled = (images.float() / 255)[:, None].expand(-1, 3, -1, -1)
        wanted = (scaled - _column(MEAN, self.device)) / _column(STD, self.device)
        both = torch.cat([wanted, wanted.flip(3)]).contiguous(memory_format=torch.channels_last)
        precision = choose_precision(self.network, self.device)
        with torch.inference_mode(), precision.autocast():
            features = self.network(both)
        pooled = features.float().clamp(min=1e-6).pow(_POWER).mean(dim=(2, 3)).pow(1 / _POWER)
        one, mirrored = pooled.chunk(2)
        return as_bytes((one + mirrored).cpu().numpy())


def _gray(picture: Rgb) -> NDArray[np.uint8]:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def load(weights: str) -> Descriptor:
    """Load the network with `imagenet` weights, which torchvision fetches once, or with those of a safetensors file.

    Raises WeightsError when `imagenet` ones cannot be had, and ConfigError for a file that does not do.
    """
    found = _tried(weights)
    if isinstance(found, Descriptor):
        return found
    if weights == "imagenet":
        raise found
    raise ConfigError(f"dedup.descriptor: {found}") from found


@lru_cache(maxsize=2)
def _tried(weights: str) -> Descriptor | WeightsError:
    """Load it, or say why not. A crawl searches many times: what could not be fetched is not asked for each time."""
    network = build(_ARCH, classes=1, size=_SIDE)
    try:
        initialise(network, _ARCH, weights)
    except WeightsError as error:
        return error
    features: nn.Module = network.get_submodule("features")
    device = pick_device("auto")
    return Descriptor(f"{_ARCH} {_digest(features)}", place(features.eval(), device), device)


def _digest(network: nn.Module) -> str:
    found = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        found.update(name.encode() + weight.cpu().numpy().tobytes())
    return found.hexdigest()[:8]
