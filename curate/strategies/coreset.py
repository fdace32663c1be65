"""Those that leave no image far from a labelled one.

The k-centre greedy algorithm of Sener and Savarese, "Active learning for convolutional neural networks: a core-set
approach", ICLR 2018. It looks at where images lie alone, not at what the model says.
"""

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from curate.strategies.interface import Pool, Rows, Strategy, always


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Each time the image that is furthest from all that are labelled or chosen; the first of all at random."""
    rows, points = pool.unlabelled, pool.embeddings[pool.unlabelled]
    count = min(count, len(rows))
    if not count:
        return rows[:0]
    squares = (points**2).sum(1)
    chosen: list[int] = []
    if len(pool.labelled):
        _, nearest = pairwise_distances_argmin_min(points, pool.embeddings[pool.labelled])
    else:
        nearest = np.full(len(rows), np.inf)
    while len(chosen) < count:
        new = int(nearest.argmax()) if np.isfinite(nearest).all() else int(rng.integers(len(rows)))
        chosen.append(new)
        squared = squares + squares[new] - 2 * (points @ points[new])
        nearest = np.minimum(nearest, np.sqrt(np.maximum(squared, 0)))
        nearest[chosen] = -1.0  # copies of one picture all lie at 0
    return rows[chosen]


def because(pool: Pool, rows: Rows) -> list[str]:  # noqa: ARG001 - whatever the pool
    """It goes by distance."""
    return ["far from all that is labelled"] * len(rows)


STRATEGY = Strategy(choose, because, embedded=True, beside=always)
