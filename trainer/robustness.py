"""How much of its accuracy a network keeps on spoilt pictures, after Hendrycks and Dietterich (ICLR 2019)."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.cache import Pixels
from trainer.corrupt import CORRUPTIONS
from trainer.predict import Predictor
from trainer.watch import SILENT, Watcher

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers under one corruption at one strength."""

    corruption: str
    strength: float
    right: int
    """Of all images."""


@dataclass(frozen=True, slots=True)
class Robustness:
    """What a network bears."""

    images: int
    clean: int
    """Right without any corruption."""
    measured: tuple[Measured, ...]
    """In the order of `CORRUPTIONS`, each from mild to hard."""


def measure(
    predictor: Predictor,
    pixels: Pixels,
    labels: Sequence[int],
    names: Sequence[str] = tuple(CORRUPTIONS),
    watcher: Watcher = SILENT,
) -> Robustness:
    """Answer for squares, (N, side, side, 3) bytes, as they are and under every strength of the corruptions named.

    Pictures are spoilt before they take the network's size, as if the file had been. Each corruption draws the same at
    every strength and for every network, whichever others are measured: what differs is what was asked about.
    """
    wanted = [(name, strength) for name, found in CORRUPTIONS.items() if name in names for strength in found.strengths]
    watcher.begin("answering for spoilt pictures", len(pixels) * (1 + len(wanted)))
    clean = _right(predictor, pixels, labels, None, watcher)
    found = [Measured(*one, _right(predictor, pixels, labels, one, watcher)) for one in wanted]
    return Robustness(len(pixels), clean, tuple(found))


def _right(
    predictor: Predictor, pixels: Pixels, labels: Sequence[int], by: tuple[str, float] | None, watcher: Watcher
) -> int:
    generator = torch.Generator().manual_seed(zlib.crc32(by[0].encode()) if by else 0)
    right = 0
    for start in range(0, len(pixels), _BATCH):
        batch = pixels[start : start + _BATCH]
        if by is not None:
            batch = corrupt(batch, *by, generator, predictor.precision.device)
        answers = [answer.label for answer in predictor.answers(batch)]
        right += sum(answer == label for answer, label in zip(answers, labels[start:], strict=False))
        watcher.advance(len(batch))
    return right


def corrupt(pixels: Pixels, name: str, strength: float, generator: torch.Generator, device: torch.device) -> Pixels:
    """Spoil squares of bytes by the corruption of that name, computed on `device`."""
    images: Tensor = torch.tensor(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    spoilt = CORRUPTIONS[name].apply(images, strength, generator)
    found: Pixels = (spoilt * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return found
