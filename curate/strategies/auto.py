"""Typical images first, then those that the model is undecided about, no two alike in a batch.

Few labels: TypiClust (Hacohen et al., ICML 2022). From then on the most undecided by margin, several times as many as
asked, clustered with their indecision as weight, and the one nearest the middle of each cluster (Zhdanov, "Diverse
mini-batch active learning", 2019). Images that the model takes for a class that has all the labels it needs come last,
and of two as undecided the one that may be of a class that lacks more comes first.

Measured by `curate simulate`; docs/decisions.md has the figures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curate.strategies import typiclust
from curate.strategies.clusters import clustered
from curate.strategies.interface import Numbers, Pool, Rows, margins

_TYPICAL_UP_TO = 20
"""Labels a class, on average, up to which what is typical taught more than what is undecided."""
_CANDIDATES = 3
"""Times as many as are asked: more would let in what the model is sure of."""


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Choose by the rule that fits how many labels there are; classes that have theirs last."""
    if pool.probabilities is None:
        return typiclust.choose(pool, count, rng)
    few = len(pool.labelled) < _TYPICAL_UP_TO * pool.probabilities.shape[1]
    rule = typiclust.choose if few else _undecided
    found: list[int] = []
    for rows in _wanted_and_rest(pool, pool.probabilities):
        part = np.sort(np.concatenate([pool.labelled, rows]))
        found += part[rule(_part(pool, part), count - len(found), rng)].tolist()
    return np.array(found, dtype=np.int64)


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


def _undecided(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    rows = pool.unlabelled
    if pool.probabilities is None or not count:
        return rows[:0]
    worth = _worth(pool.probabilities[rows], pool.missing)
    best = np.argsort(-worth, kind="stable")[: _CANDIDATES * count]
    if len(best) <= count:
        return rows[best]
    return rows[best[_spread(pool.embeddings[rows[best]], worth[best], count, rng)]]


def _worth(probabilities: Numbers, missing: NDArray[np.int64] | None) -> Numbers:
    """How undecided the model is, from 0 to 1, times how much the classes that it considers lack."""
    indecision = 1 - margins(probabilities)
    if missing is None or not missing.any():
        return indecision
    return np.asarray(indecision * (probabilities @ (missing / missing.max())))


def _spread(points: NDArray[np.float32], worth: Numbers, count: int, rng: np.random.Generator) -> Rows:
    """Of points in order of their worth so many that lie apart, in that order: the middle ones of clusters."""
    clusters, distances = clustered(points, count, rng, worth + 1e-6)
    order = np.lexsort((distances, clusters))
    firsts = order[np.unique(clusters[order], return_index=True)[1]]
    others = np.setdiff1d(np.arange(len(points)), firsts)  # where points coincide there are fewer clusters
    return np.sort(np.concatenate([firsts, others[: count - len(firsts)]]))
