"""Those that would change the model most, and each in another direction.

Ash et al., "Deep batch active learning by diverse, uncertain gradient lower bounds" (BADGE), ICLR 2020: k-means++
seeding (Arthur and Vassilvitskii, SODA 2007) over the gradients that the last layer would get if the model were right.
"""

import numpy as np
from numpy.typing import NDArray

from curate.strategies import uniform
from curate.strategies.interface import Numbers, Pool, Rows, Strategy


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Draw by squared distance from what is chosen, the longest gradient first; at random before the first model."""
    if pool.probabilities is None:
        return uniform.choose(pool, count, rng)
    rows = pool.unlabelled
    gradients = _Gradients(pool.embeddings[rows], pool.probabilities[rows])
    return rows[_seeds(gradients, min(count, len(rows)), rng)]


class _Gradients:
    """Gradients as the outer products that they are, of an error, (K,), and an embedding, (D,).

    The inner product of two is that of their errors times that of their embeddings: N rows of K x D numbers, 4 GB for
    10,000 images of 200 classes, are never written out.
    """

    def __init__(self, embeddings: NDArray[np.float32], probabilities: Numbers) -> None:
        self.embeddings = embeddings
        self.errors = probabilities.copy()
        self.errors[np.arange(len(probabilities)), probabilities.argmax(1)] -= 1
        self.squares: Numbers = (self.errors**2).sum(1) * (embeddings.astype(np.float64) ** 2).sum(1)

    def squared_distances(self, row: int) -> Numbers:
        """To all others, (N,)."""
        inner = (self.errors @ self.errors[row]) * (self.embeddings @ self.embeddings[row])
        return np.asarray(np.maximum(self.squares + self.squares[row] - 2 * inner, 0.0))


def _seeds(gradients: _Gradients, count: int, rng: np.random.Generator) -> list[int]:
    chosen: list[int] = []
    nearest = gradients.squares
    while len(chosen) < count:
        new = int(nearest.argmax()) if not chosen else _drawn(nearest, chosen, rng)
        distances = gradients.squared_distances(new)
        nearest = np.minimum(nearest, distances) if chosen else distances
        chosen.append(new)
        nearest[chosen] = 0.0
    return chosen


def _drawn(weights: Numbers, chosen: list[int], rng: np.random.Generator) -> int:
    total = weights.sum()
    if total <= 0:  # nothing but copies of what is chosen
        return int(rng.choice(np.setdiff1d(np.arange(len(weights)), chosen)))
    return int(rng.choice(len(weights), p=weights / total))


def because(pool: Pool, rows: Rows) -> list[str]:
    """By its gradient, once there is a model."""
    return uniform.because(pool, rows) if pool.probabilities is None else ["would change the model much"] * len(rows)


STRATEGY = Strategy(choose, because, embedded=True)
