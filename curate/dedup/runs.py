"""Hashes that agree in some of their bits, brought together by sorting, and the near pairs among them.

Keys of 16 bits at most are sorted by radix, in a seventh of the time of whole hashes. What stands together is compared
many runs at a time, in arrays that stay in the processor's cache: numpy's calls cost more than short runs do.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_LONG = 96
"""A run above this length is compared all with all: the time goes into calls otherwise, one for each offset."""
_LEAST_RUNS = 512
_TILE = 1 << 16
_WIDE = 1 << 13
RADIX_BITS = 16

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Found = tuple[Indices, Indices, Hashes]
"""Positions of pairs, and the bits in which they differ."""


def order_by(hashes: Hashes, blocks: Hashes) -> Indices:
    """Give the order by the bits of `blocks`."""
    order: Indices | None = None
    for key in _keys(hashes, blocks.tolist()):
        # Of 16-bit numbers alone is numpy's stable sort a radix sort.
        finer = np.argsort(key if order is None else key[order], kind="stable")
        order = finer if order is None else order[finer]
    return np.arange(len(hashes)) if order is None else order


def _keys(hashes: Hashes, blocks: Sequence[int]) -> Iterator[NDArray[np.uint16]]:
    """Pack the bits of `blocks` into as few 16-bit keys as hold them."""
    key, width = np.zeros(len(hashes), np.uint16), 0
    for block in blocks:
        low, bits = (block & -block).bit_length() - 1, block.bit_count()
        for begin in range(low, low + bits, RADIX_BITS):
            some = min(RADIX_BITS, low + bits - begin)
            if width + some > RADIX_BITS:
                yield key
                key, width = np.zeros(len(hashes), np.uint16), 0
            # The shift is made on 64 bits, all else on a quarter of them.
            piece = (hashes >> np.uint64(begin)).astype(np.uint16) & np.uint16((1 << some) - 1)
            key |= piece << np.uint16(width)
            width += some
    yield key


def runs(ordered: Hashes, mask: np.uint64) -> tuple[Indices, Indices]:
    """Where runs start that are equal under the mask, and how long they are."""
    masked = ordered & mask
    starts = np.concatenate([[0], np.flatnonzero(masked[1:] != masked[:-1]) + 1])
    return starts, np.diff(starts, append=len(ordered))


def near_in_runs(ordered: Hashes, mask: np.uint64, distance: int) -> Iterator[Found]:
    """Find near pairs among those that are equal under the mask, and stand together."""
    starts, lengths = runs(ordered, mask)
    for run in np.flatnonzero(lengths > _LONG).tolist():
        begin = starts[run]
        for low, high, differing in near_in_tiles(ordered[begin : begin + lengths[run]], None, distance):
            yield begin + low, begin + high, differing
    short = np.flatnonzero((lengths > 1) & (lengths <= _LONG))
    if len(short):
        short = short[np.argsort((_LONG - lengths[short]).astype(np.uint16), kind="stable")]
        step = max(_LEAST_RUNS, _TILE // int(lengths[short[0]]))
        for begin in range(0, len(short), step):
            some = short[begin : begin + step]
            yield from _near_in_layers(ordered, starts[some], lengths[some], distance)


def _near_in_layers(ordered: Hashes, starts: Indices, lengths: Indices, distance: int) -> Iterator[Found]:
    """Compare inside many short runs at once. They come longest first, so that those with a member j lead the others.

    Layer j holds the member j of each run, and is compared with all layers above it in one go.
    """
    layers = np.empty((lengths[0], len(starts)), np.uint64)
    layers[0] = ordered[starts]
    having = len(starts) - np.cumsum(np.bincount(lengths))
    for j in range(1, len(layers)):
        runs = having[j]
        layer = layers[j, :runs] = ordered[starts[:runs] + j]
        tile = layers[:j, :runs] ^ layer
        near = np.flatnonzero(np.bitwise_count(tile) <= distance)
        if len(near):
            i, run = np.divmod(near, runs)
            yield starts[run] + i, starts[run] + j, tile[i, run]


def near_in_tiles(rows: Hashes, columns: Hashes | None, distance: int) -> Iterator[Found]:
    """Compare all `rows` with all `columns`, or else with the rows behind them, in tiles that stay in the cache."""
    others = rows if columns is None else columns
    high = max(1, _TILE // min(len(others), _WIDE))
    for top in range(0, len(rows), high):
        for left in range(0 if columns is not None else top, len(others), _WIDE):
            tile = rows[top : top + high, None] ^ others[None, left : left + _WIDE]
            near = np.flatnonzero(np.bitwise_count(tile) <= distance)
            row, column = np.divmod(near, tile.shape[1])
            row += top
            column += left
            if columns is None:
                behind = row < column
                row, column, near = row[behind], column[behind], near[behind]
            if len(near):
                yield row, column, tile.ravel()[near]
