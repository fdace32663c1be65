"""Those that the model is most undecided about between its first two classes.

Scheffer, Decomain and Wrobel, "Active hidden Markov models for information extraction", IDA 2001. On embeddings of a
pretrained network it is hard to beat: Bahri et al., "Is margin all you need?", 2022.
"""

import numpy as np

from curate.strategies import uniform
from curate.strategies.interface import Pool, Rows, Strategy, margins


def choose(pool: Pool, count: int, rng: np.random.Generator) -> Rows:
    """Smallest margin first; at random before the first model."""
    if pool.probabilities is None:
        return uniform.choose(pool, count, rng)
    rows = pool.unlabelled
    return rows[np.argsort(margins(pool.probabilities[rows]), kind="stable")[:count]]


def because(pool: Pool, rows: Rows) -> list[str]:
    """Undecided, once there is a model."""
    return uniform.because(pool, rows) if pool.probabilities is None else ["undecided"] * len(rows)


STRATEGY = Strategy(choose, because)
