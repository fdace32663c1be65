"""At random: what every other strategy has to beat."""

import numpy as np

from curate.strategies.interface import Pool, Rows


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Draw from all unlabelled images alike."""
    return rng.permutation(pool.unlabelled)[:count]
