"""The most typical image of each region that has no label yet.

Hacohen, Dekel and Weinshall, "Active learning on a budget: opposite strategies suit high and low budgets" (TypiClust),
ICML 2022, with their numbers: at low budgets what is typical teaches more than what is uncertain.
"""

import warnings
from collections import deque

import numpy as np
from numpy.typing import NDArray

from curate.strategies.interface import UNLABELLED, Numbers, Pool, Rows, Strategy, always

_MOST_CLUSTERS = 500
_SMALL = 5
"""Images below which a cluster says nothing of what is typical."""
_NEIGHBOURS = 20
_TURNS = 30
_DIRECTIONS = 64
"""Principal components that are clustered: of 2,000 images with 512 features 500 clusters come eight times as fast as
from all of them, and are as compact, measured in all."""


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Cluster all images, and take from the clusters with the fewest labels, the largest first, one after the other."""
    count = min(count, len(pool.unlabelled))
    if not count:
        return pool.unlabelled[:0]
    from sklearn.preprocessing import normalize  # noqa: PLC0415 - a second of imports, paid only where it is used

    points = normalize(pool.embeddings)
    wanted = min(len(pool.labelled) + count, _MOST_CLUSTERS, len(points))
    clusters = _clustered(points, wanted, rng)
    chosen: list[int] = []
    for part in _large_and_small(clusters, pool):
        chosen += _in_turn(part, points, pool, count - len(chosen))
    return np.array(chosen, dtype=np.int64)


def _clustered(points: NDArray[np.float32], wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans  # noqa: PLC0415 - as above
    from sklearn.decomposition import PCA  # noqa: PLC0415
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

    found = KMeans(wanted, n_init=1, max_iter=_TURNS, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer places than clusters: some stay empty
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)  # no spread at all
        reduced = PCA(min(_DIRECTIONS, *points.shape), svd_solver="covariance_eigh").fit_transform(points)
        return np.asarray(found.fit_predict(reduced), dtype=np.int64)


def _large_and_small(clusters: NDArray[np.int64], pool: Pool) -> tuple[list[Rows], list[Rows]]:
    """Rows of each cluster with anything to label: those with fewest labels first, then the largest."""
    found = [np.flatnonzero(clusters == number) for number in np.unique(clusters)]
    found = [rows for rows in found if (pool.labels[rows] == UNLABELLED).any()]
    found.sort(key=lambda rows: (int((pool.labels[rows] != UNLABELLED).sum()), -len(rows)))
    return [rows for rows in found if len(rows) >= _SMALL], [rows for rows in found if len(rows) < _SMALL]


def _in_turn(clusters: list[Rows], points: NDArray[np.float32], pool: Pool, count: int) -> list[int]:
    """Take one of each cluster, the most typical, then the next of each, until there are so many."""
    chosen: list[int] = []
    waiting = deque((rows, 0) for rows in clusters)
    while waiting and len(chosen) < count:
        rows, turn = waiting.popleft()
        if turn == 0:  # only now: most clusters' turn never comes
            rows = _by_typicality(rows, points, pool)
        chosen.append(int(rows[turn]))
        if turn + 1 < len(rows):
            waiting.append((rows, turn + 1))
    return chosen


def _by_typicality(rows: Rows, points: NDArray[np.float32], pool: Pool) -> Rows:
    free = pool.labels[rows] == UNLABELLED
    order = np.argsort(-typicality(points[rows])[free], kind="stable")
    return np.asarray(rows[free][order], dtype=np.int64)


def typicality(points: NDArray[np.float32]) -> Numbers:
    """How close the nearest neighbours of each point are: the inverse of their mean distance; (N,)."""
    neighbours = min(_NEIGHBOURS, len(points) - 1)
    if neighbours < 1:
        return np.zeros(len(points))
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - as above

    distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors()
    return np.asarray(1 / (distances.mean(1) + 1e-5), dtype=np.float64)


def because(pool: Pool, rows: Rows) -> list[str]:  # noqa: ARG001 - whatever the pool
    """It takes the middle of what is not labelled."""
    return ["typical of many that have few labels"] * len(rows)


STRATEGY = Strategy(choose, because, embedded=True, beside=always)
