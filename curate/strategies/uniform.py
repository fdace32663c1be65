"""At random: what every other strategy has to beat."""

import numpy as np

from curate.strategies.interface import Pool, Rows, Strategy

BECAUSE = "drawn at random"


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Draw from all unlabelled images alike."""
    return rng.permutation(pool.unlabelled)[:count]


def because(pool: Pool, rows: Rows) -> list[str]:  # noqa: ARG001 - whatever the pool
    """It takes any."""
    return [BECAUSE] * len(rows)


STRATEGY = Strategy(choose, because)
