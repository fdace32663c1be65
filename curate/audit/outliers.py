"""Images that resemble no other of the dataset: perhaps of no class."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

_NEIGHBOURS = 10
_FENCE = 3.0
"""Interquartile ranges beyond the upper quartile: "far out" (Tukey, "Exploratory Data Analysis", 1977)."""


def strangeness(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far each image lies from its nearest others, (N,), from 0 to 1, for features (N, D); beyond 0.5 is far out.

    The mean cosine distance to ten neighbours (Kuan and Mueller, "Back to the basics: Revisiting out-of-distribution
    detection baselines", 2022), set in relation to where outliers begin.
    """
    count = min(_NEIGHBOURS, len(features) - 1)
    apart, _ = NearestNeighbors(n_neighbors=count, metric="cosine").fit(features).kneighbors()
    distances: NDArray[np.float64] = apart.mean(axis=1).astype(np.float64)
    low, high = np.quantile(distances, [0.25, 0.75])
    fence = max(float(high + _FENCE * (high - low)), 1e-12)
    found: NDArray[np.float64] = distances / (distances + fence)
    return found


def nearest(unit: NDArray[np.float32], row: int, among: NDArray[np.int64]) -> int | None:
    """Give the row, of those `among`, that is most like `row`; None where there is no other. Features have length 1."""
    others = among[among != row]
    return int(others[int((unit[others] @ unit[row]).argmax())]) if len(others) else None
