"""Images in groups of their like."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from curate.strategies.interface import Numbers

_TURNS = 30
_DIRECTIONS = 64
"""Principal components that are clustered: of 2,000 images with 512 features 500 clusters come eight times as fast as
from all of them, and are as compact, measured in all."""


def clustered(
    points: NDArray[np.float32], wanted: int, rng: np.random.Generator, weights: Numbers | None = None
) -> tuple[NDArray[np.int64], Numbers]:
    """Cluster points, (N, D), by k-means: the cluster of each, (N,), and its distance from the middle of that, (N,).

    `weights` say how much each point counts. Where there are fewer places than clusters, some clusters stay empty.
    """
    found = KMeans(wanted, n_init=1, max_iter=_TURNS, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer places than clusters
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)  # no spread at all
        reduced = PCA(min(_DIRECTIONS, *points.shape), svd_solver="covariance_eigh").fit_transform(points)
        clusters = found.fit_predict(reduced, sample_weight=weights)
    distances = np.linalg.norm(reduced - found.cluster_centers_[clusters], axis=1)
    return clusters.astype(np.int64), distances.astype(np.float64)
