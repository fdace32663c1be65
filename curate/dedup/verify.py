"""The second look: is a pair that hashes alike the same photograph? A hash alone mistakes catalogue shots."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.pixels import to_rgb

Scores = NDArray[np.float32]
Indices = NDArray[np.int64]

_SIDE = 48
_BLOCK = 10_000
"""Pairs compared at once, in some 400 MB."""


class Verifier(Protocol):
    """Looks at proposed pairs."""

    @property
    def name(self) -> str:
        """What it does and how strictly. Pairs are looked at anew when this changes."""

    def look(self, low: Indices, high: Indices, read: Callable[[int], bytes], advance: Callable[[int], None]) -> Scores:
        """Score pairs of images, given as numbers that `read` turns into bytes; `advance` counts pairs done."""

    def holds(self, scores: Scores) -> NDArray[np.bool_]:
        """Which scores mean the same photograph."""


@dataclass(frozen=True)
class ThumbnailVerifier:
    """Same photograph if the mean absolute difference of 48 x 48 RGB thumbnails (0-255) is under `limit`.

    Colour is kept: the same guitar in another finish is another photograph.
    """

    limit: float

    @property
    def name(self) -> str:
        """Name the measure and its limit."""
        return f"rgb{_SIDE}<{self.limit:g}"

    def look(self, low: Indices, high: Indices, read: Callable[[int], bytes], advance: Callable[[int], None]) -> Scores:
        """Score pairs by their mean absolute difference."""
        scores = np.empty(len(low), np.float32)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(low), _BLOCK):
                block = slice(start, start + _BLOCK)
                numbers, positions = np.unique(np.concatenate([low[block], high[block]]), return_inverse=True)
                thumbnails = np.stack(list(pool.map(lambda number: thumbnail(read(number)), numbers.tolist())))
                left, right = np.split(thumbnails[positions].astype(np.int16), 2)
                scores[block] = np.abs(left - right).mean(axis=(1, 2, 3))
                advance(len(left))
        return scores

    def holds(self, scores: Scores) -> NDArray[np.bool_]:
        """Tell by the limit."""
        return scores < self.limit


def thumbnail(data: bytes) -> NDArray[np.uint8]:
    """Shrink an image to 48 x 48 RGB, whatever its shape."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = to_rgb(image)
    return np.asarray(rgb.resize((_SIDE, _SIDE), Image.Resampling.BOX))
