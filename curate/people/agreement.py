"""How far people agree: Krippendorff's alpha, of all, for each class, and for each two people."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RESAMPLES = 1000

Unit = Mapping[str, Hashable]
"""What was said of one image, by person."""


@dataclass(frozen=True, slots=True)
class Alpha:
    """An agreement: 1 is perfect, 0 chance; None where there is nothing to compare, or all say the same."""

    images: int
    """With answers of two people or more."""
    alpha: float | None
    interval: tuple[float, float] | None
    """At 95 %, by bootstrap over the images."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people, the images that both answered, and on how many they said the same."""

    people: tuple[str, str]
    agree: int
    alpha: Alpha


@dataclass(frozen=True, slots=True)
class Agreement:
    """All of it. `classes` has for each answer how far people agree on whether it is that or another."""

    overall: Alpha
    classes: dict[str, Alpha]
    pairs: list[Pair]


def agreement(units: Iterable[Unit], names: Mapping[Hashable, str]) -> Agreement:
    """Measure it over images, by what their people said; `names` has all that can be said."""
    shared = [unit for unit in units if len(unit) > 1]
    said = {value for unit in shared for value in unit.values()}
    return Agreement(
        overall=alpha(shared),
        classes={n: alpha([_whether(unit, value) for unit in shared]) for value, n in names.items() if value in said},
        pairs=_pairs(shared),
    )


def alpha(units: Sequence[Unit]) -> Alpha:
    """Krippendorff's alpha for nominal data (Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011).

    Coded here: the packages that have it are under the GPL.
    """
    counted = [Counter(unit.values()) for unit in units if len(unit) > 1]
    if not counted:
        return Alpha(0, None, None)
    values = sorted({value for counts in counted for value in counts}, key=repr)
    table = np.array([[counts[value] for value in values] for counts in counted], np.float64)
    return Alpha(len(counted), _alpha(table), _interval(table))


def _alpha(table: Floats) -> float | None:
    """Of counts by image (rows) and answer (columns), each row with two answers or more."""
    within, total, *by_value = _sums(table).sum(0)
    return _from_sums(within, total, np.array(by_value))


def _sums(table: Floats) -> Floats:
    """What alpha is made of, by image: disagreement within it, its answers, and these by what they say."""
    answers = table.sum(1)
    within = (answers**2 - (table**2).sum(1)) / (answers - 1)
    return np.column_stack([within, answers, table])


def _from_sums(within: float, total: float, by_value: Floats) -> float | None:
    expected = (total**2 - (by_value**2).sum()) / (total * (total - 1))
    return None if expected <= 0 else float(1 - within / total / expected)


def _interval(table: Floats) -> tuple[float, float] | None:
    """Images drawn anew are images with other weights: so all draws are one product of matrices."""
    weights = np.random.default_rng(0).multinomial(len(table), np.full(len(table), 1 / len(table)), _RESAMPLES)
    drawn = (_from_sums(row[0], row[1], row[2:]) for row in weights @ _sums(table))
    found = [value for value in drawn if value is not None]
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _whether(unit: Unit, value: Hashable) -> Unit:
    return {person: said == value for person, said in unit.items()}


def _pairs(units: Sequence[Unit]) -> list[Pair]:
    """Every two people who answered the same image, those with most in common first."""
    shared: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in units:
        for pair in combinations(sorted(unit), 2):
            shared[pair].append({person: unit[person] for person in pair})
    found = [Pair(pair, sum(len(set(u.values())) == 1 for u in mine), alpha(mine)) for pair, mine in shared.items()]
    return sorted(found, key=lambda pair: (-pair.alpha.images, pair.people))
