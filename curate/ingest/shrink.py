"""Pillow's own reduction of a gray picture to 32 x 32, bit for bit, in a third to a half of its time.

Pillow's Lanczos filter runs along the rows, then down the columns, and rounds to whole grays after each, with weights
that are whole 2**-22ths. The rows are nearly all of the work: done here as matrix products, in double precision, in
which sums of such weights are exact. On 1024 x 768 pixels it takes 0.9 ms for Pillow's 2.3 ms (1.3 ms without AVX-512).
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
_ONE = 1 << 22
_LOBES = 3
_LEAST_WIDTH = 256
"""Below it Pillow is as fast."""
_COLUMNS = 8
"""Of the result, worked out at once: fewer make products too narrow, more multiply mostly zeros."""
_PIXELS = 1 << 16
"""Turned to doubles at once, to stay in the cache. Such products also lie below the size that OpenBLAS splits over
threads, which would only wait for each other."""

Band = tuple[slice, slice, NDArray[np.float64]]


def shrink(gray: Image.Image) -> Image.Image:
    """Give the very pixels of `gray.resize((32, 32), Image.Resampling.LANCZOS)`, of an 8-bit gray picture."""
    width, height = gray.size
    # From version 13 on, Pillow goes down the columns first in pictures about twice as tall as wide.
    if width >= _LEAST_WIDTH and 2 * height <= 3 * width:
        gray = Image.fromarray(_narrowed(np.asarray(gray)))
    return gray.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _narrowed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape
    sums = np.empty((height, SIDE))
    rows = max(1, _PIXELS // width)
    for top in range(0, height, rows):
        some = pixels[top : top + rows].astype(np.float64)
        for taken, given, weights in _bands(width):
            sums[top : top + rows, given] = some[:, taken] @ weights
    sums += 0.5
    return sums.clip(0, 255, out=sums).astype(np.uint8)


@lru_cache(maxsize=64)  # 0.1 MB each at a width of 1024, which takes 1 ms to make
def _bands(width: int) -> tuple[Band, ...]:
    return tuple(_cut(weights(width)))


def _cut(table: NDArray[np.float64]) -> Iterator[Band]:
    for first in range(0, SIDE, _COLUMNS):
        given = slice(first, first + _COLUMNS)
        used = np.flatnonzero(table[:, given].any(axis=1))
        taken = slice(used[0], used[-1] + 1)
        yield taken, given, np.ascontiguousarray(table[taken, given]) / _ONE


def weights(length: int) -> NDArray[np.float64]:
    """What each of `length` pixels, 32 or more, adds to each of 32: a table (length, 32) of whole 2**-22ths."""
    scale = length / SIDE
    away = (np.arange(length)[:, None] + 0.5) / scale - (np.arange(SIDE) + 0.5)
    table: NDArray[np.float64] = np.where(np.abs(away) < _LOBES, np.sinc(away) * np.sinc(away / _LOBES), 0)
    table *= _ONE / table.sum(axis=0)
    table += np.copysign(0.5, table)
    return np.trunc(table, out=table)
