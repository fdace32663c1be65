"""What a strategy is given, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Numbers of images, counted in the pool."""
Numbers = NDArray[np.float64]

UNLABELLED = -1
AWAITED = -2
"""With people already: what it is of is not known yet, but it need not be asked for again."""


@dataclass(frozen=True, slots=True)
class Pool:
    """All images that could be labelled, those with a label among them, and what is believed of them."""

    embeddings: NDArray[np.float32]
    """(N, D), alike when close by Euclidean distance: every column has about the same spread."""
    labels: NDArray[np.int64]
    """(N,), -1 for unlabelled, -2 for what is with people."""
    probabilities: Numbers | None = None
    """(N, K), by the present model; None before the first."""
    missing: NDArray[np.int64] | None = None
    """(K,): labels that each class still lacks; None where nobody counts."""

    @property
    def labelled(self) -> Rows:
        """Rows with a label, there or on its way, ascending."""
        return np.flatnonzero(self.labels != UNLABELLED)

    @property
    def unlabelled(self) -> Rows:
        """Rows without one, ascending."""
        return np.flatnonzero(self.labels == UNLABELLED)


Choose = Callable[[Pool, int, np.random.Generator], Rows]
"""Chooses so many unlabelled rows, or all that there are, in the order in which they should be labelled.

It draws from the generator alone: the same pool and seed give the same rows.
"""


def never(labels: int, classes: int) -> bool:  # noqa: ARG001 - one of two answers to the same question
    """Say that a strategy asks nothing of labelled images, however many there are."""
    return False


def always(labels: int, classes: int) -> bool:  # noqa: ARG001 - as above
    """Say that a strategy goes by where labelled images lie, however many there are."""
    return True


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to choose what to label next, and what is to be known of it before it chooses."""

    choose: Choose
    because: Callable[[Pool, Rows], list[str]]
    """Why each of the rows that it chose of a pool was chosen, in a few words."""
    embedded: bool = False
    """Whether it looks at where images lie. If not, the pool's embeddings may be of no column."""
    beside: Callable[[int, int], bool] = never
    """Whether, with so many labels of so many classes, it looks at where labelled images lie, too."""


def margins(probabilities: Numbers) -> Numbers:
    """How far the most probable class is ahead of the second, from 0, undecided, to 1; (N,)."""
    if probabilities.shape[1] < 2:  # noqa: PLR2004 - no second class to be ahead of
        return np.ones(len(probabilities))
    least, most = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return np.asarray(most - least)
