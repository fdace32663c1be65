"""Nearest neighbours among vectors that are shown block by block: exact, and memory does not grow with their number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curate.dedup.layout import Vector, units

_ROWS = 1024
"""Images whose likeness to those shown is held at once."""

Indices = NDArray[np.int64]
Likeness = NDArray[np.float32]


class Nearest:
    """For some images, the nearest of all, by each part of their vectors; and whose nearest they are themselves.

    With both, images that are added later give at least the pairs that one search among all of them gives.
    """

    def __init__(self, ids: Indices, vectors: Vector, parts: Sequence[int], count: int) -> None:
        """Ask for the `count` nearest of each of `ids`, by each of `parts`."""
        self._ids = ids
        self._parts = parts
        self._vectors = units(vectors, parts)
        self._found = np.full((len(ids), len(parts), count), -1, np.int64)
        self._likeness = np.full((len(ids), len(parts), count), -np.inf, np.float32)
        self._near_old: list[Indices] = []

    def show(self, ids: Indices, vectors: Vector, reach: Likeness) -> None:
        """Compare with these images, those asked for among them or not.

        `reach`, shape (n, parts), says how alike another must be to be among the nearest of each of these.
        """
        others = units(vectors, self._parts)
        for start in range(0, len(self._ids), _ROWS):
            rows = slice(start, start + _ROWS)
            own, other = np.nonzero(self._ids[rows, None] == ids[None])
            for part, (mine, theirs) in enumerate(zip(self._vectors, others, strict=True)):
                likeness = mine[rows] @ theirs.T
                likeness[own, other] = -np.inf
                self._keep_best(rows, part, ids, likeness)
                a, b = np.nonzero(likeness > reach[None, :, part])
                self._near_old.append(np.stack([self._ids[rows][a], ids[b]], axis=1))

    def _keep_best(self, rows: slice, part: int, ids: Indices, likeness: Likeness) -> None:
        known = self._likeness[rows, part]
        count = min(known.shape[1], likeness.shape[1])
        near = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        every = np.concatenate([known, np.take_along_axis(likeness, near, axis=1)], axis=1)
        names = np.concatenate([self._found[rows, part], ids[near]], axis=1)
        best = np.argsort(-every, axis=1, kind="stable")[:, : known.shape[1]]
        self._likeness[rows, part] = np.take_along_axis(every, best, axis=1)
        self._found[rows, part] = np.take_along_axis(names, best, axis=1)

    def reach(self) -> Likeness:
        """How alike the farthest of the nearest is, for each of `ids` and each part; -inf where there are too few."""
        return self._likeness[:, :, -1]

    def pairs(self) -> Indices:
        """Give every pair found once, shape (n, 2), the smaller id first."""
        found = np.where(np.isfinite(self._likeness), self._found, -1).reshape(len(self._ids), -1)
        own = np.broadcast_to(self._ids[:, None], found.shape)[found >= 0]
        both = np.concatenate([np.stack([own, found[found >= 0]], axis=1), *self._near_old])
        pairs: Indices = np.unique(np.sort(both, axis=1), axis=0)
        return pairs
