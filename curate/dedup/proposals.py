"""Pairs of images that are worth a look, gathered from hashes and from layouts in bounded memory."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

_MOST = 50
"""Images of like hash that are proposed for one image, the nearest. Where there are more, hashes tell nothing."""
_HELD = 5_000_000
"""Pairs held before those beyond _MOST are dropped: 120 MB."""


class Proposals:
    """Pairs by hash, at most _MOST an image, unless the other is among the nearest of its own."""

    def __init__(self) -> None:
        self._pairs: list[Indices] = [np.empty((0, 3), np.int64)]
        self._held = 0

    def add(self, low: Indices, high: Indices, distance: NDArray[np.uint8]) -> None:
        """Take pairs of ids in, shape (n,) each, with the bits in which their hashes differ."""
        self._pairs.append(np.stack([low, high, distance.astype(np.int64)], axis=1))
        self._held += len(low)
        if self._held > _HELD:
            self._prune()

    def _prune(self) -> None:
        rows = np.concatenate(self._pairs)
        kept = np.zeros(len(rows), np.bool_)
        for column in (0, 1):
            order = np.lexsort((rows[:, 1 - column], rows[:, 2], rows[:, column]))
            image = rows[order, column]
            first = np.flatnonzero(np.diff(image, prepend=-1))
            rank = np.arange(len(rows)) - np.repeat(first, np.diff(first, append=len(rows)))
            kept[order[rank < _MOST]] = True
        self._pairs = [rows[kept]]
        self._held = int(kept.sum())

    def pairs(self) -> Indices:
        """Give every pair, shape (n, 2), in order."""
        self._prune()
        rows = self._pairs[0]
        return rows[np.lexsort((rows[:, 1], rows[:, 0])), :2]
