"""What curves of several seeds come to: means with intervals, differences to random, and labels saved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as students_t
from sklearn.isotonic import IsotonicRegression

from curate.simulation.replay import Curve
from curate.strategies import RANDOM

ALLOWED = 0.01
"""Accuracy below that of the whole pool that counts as having reached it."""
_CONFIDENCE = 0.95

Curves = Mapping[str, Mapping[int, Curve]]
"""By strategy and seed."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds, and half its 95 % interval by Student's t; None of a single seed, which tells no spread."""

    value: float
    spread: float | None

    def __format__(self, form: str) -> str:
        """Write it with its spread; `+` shows a sign, `%` a percentage."""
        number = ".1%" if form == "%" else f"{form}.3f"
        return f"{self.value:{number}}" + ("" if self.spread is None else f" ±{self.spread:{number.lstrip('+')}}")


def mean_of(values: Sequence[float]) -> Mean:
    """Mean of one value a seed."""
    count = len(values)
    value = float(np.mean(values))
    if count < 2:  # noqa: PLR2004 - no spread of one
        return Mean(value, None)
    half = students_t.ppf((1 + _CONFIDENCE) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count)
    return Mean(value, float(half))


@dataclass(frozen=True, slots=True)
class Saved:
    """Labels that a strategy needed for the accuracy of the whole pool with the same seed, less what is allowed."""

    strategy: str
    reached: int
    """Seeds that came so far within the budget."""
    share: Mean | None
    """Of the pool; None unless all seeds came so far."""
    random: Mean | None
    """The same of random, on the same seeds."""
    less: Mean | None
    """How much smaller than random's the share is, seed by seed."""


def accuracies(curves: Mapping[int, Curve], place: int) -> list[float]:
    """Accuracy in one round, one a seed."""
    return [curve.accuracy[place] for _, curve in sorted(curves.items())]


def against_random(curves: Curves, strategy: str, place: int) -> Mean:
    """How much better than random in one round: the mean of differences, since a seed begins alike for both."""
    pairs = zip(accuracies(curves[strategy], place), accuracies(curves[RANDOM], place), strict=True)
    return mean_of([one - other for one, other in pairs])


def needed(curve: Curve, accuracy: float) -> float | None:
    """Labels from which on a curve has this accuracy; None if it never has.

    Of the rising curve that fits it best (isotonic regression), between two rounds by a straight line: the first round
    that happens to have it would be luck, the more often the more rounds there are.
    """
    labels = np.array(curve.labels, dtype=np.float64)
    rising = IsotonicRegression().fit_transform(labels, np.array(curve.accuracy))
    there = np.flatnonzero(rising >= accuracy - 1e-9)
    if not len(there):
        return None
    place = int(there[0])
    if place == 0:
        return float(labels[0])
    low, high = rising[place - 1], rising[place]
    part = (accuracy - low) / (high - low)
    return float(labels[place - 1] + part * (labels[place] - labels[place - 1]))


def saved(curves: Curves, pool: int, wholes: Mapping[int, float]) -> list[Saved]:
    """Compare all strategies by the labels they needed; `wholes` has the accuracy from the whole pool, by seed.

    Each seed has its own to reach: by one for all, a seed that is lucky there would be out of reach for the others.
    """
    shares = {
        strategy: [needed(curve, wholes[seed] - ALLOWED) for seed, curve in sorted(by_seed.items())]
        for strategy, by_seed in curves.items()
    }
    found = []
    for strategy, labels in shares.items():
        own = [one / pool for one in labels if one is not None]
        control = [one / pool for one in shares[RANDOM] if one is not None]
        both = [(r - o) / pool for o, r in zip(labels, shares[RANDOM], strict=True) if o is not None and r is not None]
        every = len(labels)
        found.append(
            Saved(
                strategy,
                len(own),
                mean_of(own) if len(own) == every else None,
                mean_of(control) if len(control) == every else None,
                mean_of(both) if len(both) == every else None,
            )
        )
    return found


def shown_rounds(labels: Sequence[int], pool: int) -> list[int]:
    """Rounds that a table shows: the first two, then about 5, 10, 20, 35, 50, 75 and 100 % of the pool."""
    places = {0, min(1, len(labels) - 1), len(labels) - 1}
    for share in (0.05, 0.1, 0.2, 0.35, 0.5, 0.75):
        places.add(min(range(len(labels)), key=lambda place: abs(labels[place] - share * pool)))
    return sorted(places)
