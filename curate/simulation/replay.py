"""Labelling once more what is labelled already, batch by batch, in the order that a strategy asks for it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.strategies.interface import UNLABELLED, Choose, Numbers, Pool, Rows


@dataclass(frozen=True, slots=True)
class Replayed:
    """Images whose labels are known, and which therefore can be labelled anew."""

    labels: NDArray[np.int64]
    """(N,), counted in the classes."""
    classes: int
    wanted: int
    """Labels to learn from that every class shall have."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A round's model: how good it is, and what it tells of the images that are replayed."""

    accuracy: float
    """Share of the validation images that it gets right."""
    embeddings: NDArray[np.float32]
    """(N, D), each column with mean 0 and spread 1."""
    probabilities: Numbers
    """(N, K)."""


Learn = Callable[[Rows], Learned]
"""Learns from these images with their labels, and nothing else: the same rows, however they came, the same model."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One strategy's way through the pool, from one seed."""

    labels: tuple[int, ...]
    """Labels there were in each round."""
    accuracy: tuple[float, ...]
    """Share of the validation images that the model of the round got right."""
    order: tuple[int, ...]
    """Rows of the pool as they were labelled."""


def first_batch(labels: NDArray[np.int64], seed: int) -> Rows:
    """Draw one image a class: what a seed means, to every strategy."""
    rng = np.random.default_rng([seed, 0])
    return np.array([rng.choice(np.flatnonzero(labels == label)) for label in np.unique(labels)], dtype=np.int64)


def sizes(first: int, batch: int, budget: int) -> list[int]:
    """Labels there are in each round; the last one fills the budget."""
    return [*range(first, budget, batch), budget]


def replay(
    data: Replayed,
    learn: Learn,
    choose: Choose,
    seed: int,
    batch: int,
    budget: int,
    done: Callable[[int], None] = lambda _: None,
) -> Curve:
    """Label one image a class, then what `choose` says, `batch` at a time up to `budget`; learn anew in between.

    `done` is called after each round with the labels that came in it. One strategy and seed give one curve, and two
    strategies begin with the same images.
    """
    rng = np.random.default_rng([seed, 1])
    known = np.full(len(data.labels), UNLABELLED)
    chosen = first_batch(data.labels, seed)[:budget]
    order: list[int] = []
    accuracies: list[float] = []
    learned: Learned | None = None
    rounds = sizes(len(chosen), batch, budget)
    for size in rounds:
        if learned is not None:
            pool = Pool(learned.embeddings, known.copy(), learned.probabilities, _missing(known, data))
            chosen = choose(pool, size - len(order), rng)
        known[chosen] = data.labels[chosen]
        order += chosen.tolist()
        learned = learn(np.flatnonzero(known != UNLABELLED))
        accuracies.append(learned.accuracy)
        done(len(chosen))
    return Curve(tuple(rounds), tuple(accuracies), tuple(order))


def _missing(known: NDArray[np.int64], data: Replayed) -> NDArray[np.int64]:
    have = np.bincount(known[known != UNLABELLED], minlength=data.classes)
    return np.maximum(data.wanted - have, 0)
