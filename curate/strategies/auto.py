"""Typical images first, then those that the model is undecided about, no two alike in a batch.

Few labels: TypiClust (Hacohen et al., ICML 2022). More and more the smallest margin (Scheffer et al., IDA 2001), but no
image close to one that is taken. Images that the model takes for a class that has all the labels it needs come last,
and of two as undecided the one that may be of a class that lacks more comes first.

What `curate simulate` says of it on photographs stands in docs/decisions.md. Clusters of the most undecided (Zhdanov,
"Diverse mini-batch active learning", 2019), weights for images far from any, and, early, for those in a crowd, gave
less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curate.strategies import margin, typiclust
from curate.strategies.interface import AWAITED, UNLABELLED, Numbers, Pool, Rows, Strategy, margins

_TYPICAL_ALONE, _TYPICAL_UP_TO = 3, 10
"""Labels a class, on average: up to the first all of a batch is typical, from the second on nothing, and in between the
share falls. Each typical image more leaves a place less for one that the model is undecided about."""
_PULL = 0.5
"""How much what a class lacks counts, beside indecision: at 1 short classes took so many places that what confuses the
model was labelled later."""
_CANDIDATES = 3
"""Times as many as are asked are looked through for images that are not alike."""
_ALIKE = 0.5
"""Closer than this share of the median distance between candidates."""


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Choose by the rules that fit how many labels there are; classes that have theirs last."""
    if pool.probabilities is None:
        return _typical(pool, count, rng)
    labels = pool.labels.copy()
    found: list[int] = []
    for rows, undecided, typical in _planned(pool, pool.probabilities, count):
        first = rows[_undecided(_part(pool, rows), pool.probabilities[rows], undecided)]
        labels[first] = AWAITED  # what is typical is so beside these
        part = np.sort(np.concatenate([np.flatnonzero(labels != UNLABELLED), rows[~np.isin(rows, first)]]))
        found += [*first.tolist(), *part[_typical(_part(replace(pool, labels=labels), part), typical, rng)].tolist()]
    return np.array(found, dtype=np.int64)


def _planned(pool: Pool, probabilities: Numbers, count: int) -> Iterator[tuple[Rows, int, int]]:
    """Yield rows to choose from, and how many: first such as the model is undecided about, then typical ones."""
    classes = probabilities.shape[1]
    over = (_TYPICAL_UP_TO * classes - len(pool.labelled)) / ((_TYPICAL_UP_TO - _TYPICAL_ALONE) * classes)
    share = min(1.0, max(0.0, over))
    for rows in _wanted_and_rest(pool, probabilities):
        places = min(count, len(rows))
        typical = round(places * share)
        yield rows, places - typical, typical
        count -= places


def _wanted_and_rest(pool: Pool, probabilities: Numbers) -> Sequence[Rows]:
    """Unlabelled rows: those that may be of a class that lacks labels, then those taken for one that lacks none."""
    rows = pool.unlabelled
    if pool.missing is None:
        return (rows,)
    lacking = pool.missing[probabilities[rows].argmax(1)] > 0
    return rows[lacking], rows[~lacking]


def _part(pool: Pool, rows: Rows) -> Pool:
    probabilities = None if pool.probabilities is None else pool.probabilities[rows]
    return Pool(pool.embeddings[rows], pool.labels[rows], probabilities, pool.missing)


def _typical(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Choose what is typical; in place of what is alike, what is typical beside all that was looked at."""
    labels = pool.labels.copy()
    looked_at = rows = typiclust.choose(pool, count, rng)
    kept = rows[_apart(pool.embeddings[rows])]
    if len(kept) < len(rows):
        labels[rows] = AWAITED
        more = typiclust.choose(replace(pool, labels=labels), len(rows) - len(kept), rng)
        looked_at = np.concatenate([kept, more, np.setdiff1d(rows, kept)])
        kept = looked_at[_apart(pool.embeddings[looked_at])]
    return _filled(kept, looked_at, count)


def _undecided(pool: Pool, probabilities: Numbers, count: int) -> Rows:
    worth = _worth(probabilities, pool.missing)
    best = np.argsort(-worth, kind="stable")[: _CANDIDATES * count]
    return _filled(best[_apart(pool.embeddings[best])], best, count)


def _filled(first: Rows, every: Rows, count: int) -> Rows:
    """So many, those of `every` that are not among the `first` at the end."""
    others = every[~np.isin(every, first)]
    return np.concatenate([first, others])[:count]


def _worth(probabilities: Numbers, missing: NDArray[np.int64] | None) -> Numbers:
    """How undecided the model is, from 0 to 1, times how much the classes that it considers lack."""
    indecision = 1 - margins(probabilities)
    if missing is None or not missing.any():
        return indecision
    return np.asarray(indecision * (probabilities @ (missing / missing.max()) ** _PULL))


def _apart(points: NDArray[np.float32]) -> Rows:
    """Of points, the best first, those that are not close to a better one that is taken."""
    if len(points) < 2:  # noqa: PLR2004 - nothing to be close to
        return np.arange(len(points))
    from sklearn.metrics import pairwise_distances  # noqa: PLC0415 - a second of imports, paid only where it is used

    distances = pairwise_distances(points)
    alike = distances < _ALIKE * np.median(distances)
    chosen: list[int] = []
    for row in range(len(points)):
        if not alike[row, chosen].any():
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)


def few(labels: int, classes: int) -> bool:
    """Whether anything typical is asked for as yet."""
    return labels < _TYPICAL_UP_TO * classes


def because(pool: Pool, rows: Rows) -> list[str]:
    """By the rule that each was chosen by."""
    if pool.probabilities is None:
        return typiclust.because(pool, rows)
    words: list[str] = []
    for _, undecided, typical in _planned(pool, pool.probabilities, len(rows)):
        place = len(words)
        words += margin.because(pool, rows[place : place + undecided])
        words += typiclust.because(pool, rows[place + undecided : place + undecided + typical])
    return words


STRATEGY = Strategy(choose, because, embedded=True, beside=few)
