"""Those whose classes the model spreads its belief over most evenly.

Shannon's entropy as in Settles, "Active learning literature survey", University of Wisconsin-Madison 2009.
"""

import numpy as np
from scipy.special import entr

from curate.strategies import uniform
from curate.strategies.interface import Pool, Rows, Strategy


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Highest entropy first; at random before the first model."""
    if pool.probabilities is None:
        return uniform.choose(pool, count, rng)
    rows = pool.unlabelled
    entropies = entr(pool.probabilities[rows]).sum(1)
    return rows[np.argsort(-entropies, kind="stable")[:count]]


def because(pool: Pool, rows: Rows) -> list[str]:
    """Undecided, once there is a model."""
    return uniform.because(pool, rows) if pool.probabilities is None else ["undecided among all classes"] * len(rows)


STRATEGY = Strategy(choose, because)
