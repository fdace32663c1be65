"""Labelling once more what is labelled already, batch by batch, in the order that a strategy asks for it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.simulation.head import Head
from curate.strategies.interface import UNLABELLED, Pool, Rows, Strategy


@dataclass(frozen=True, slots=True)
class Replayed:
    """What is replayed: images whose labels are known, and others that tell how good a model is."""

    features: NDArray[np.float32]
    """(N, D), each column with mean 0 and spread 1."""
    labels: NDArray[np.int64]
    """(N,), counted in the classes."""
    validation: NDArray[np.float32]
    """(M, D), on the same scale."""
    validation_labels: NDArray[np.int64]
    classes: int
    wanted: int
    """Labels to learn from that every class shall have."""


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
    data: Replayed, strategy: Strategy, seed: int, batch: int, budget: int, done: Callable[[int], None] = lambda _: None
) -> Curve:
    """Label one image a class, then what `strategy` chooses, `batch` at a time up to `budget`; learn anew in between.

    `done` is called after each round with the labels that came in it. One strategy and seed give one curve, and two
    strategies begin with the same images.
    """
    rng = np.random.default_rng([seed, 1])
    known = np.full(len(data.labels), UNLABELLED)
    chosen = first_batch(data.labels, seed)[:budget]
    order: list[int] = []
    accuracies: list[float] = []
    head = Head(data.classes)
    rounds = sizes(len(chosen), batch, budget)
    for size in rounds:
        if order:
            pool = Pool(data.features, known.copy(), head.probabilities(data.features), _missing(known, data))
            chosen = strategy(pool, size - len(order), rng)
        known[chosen] = data.labels[chosen]
        order += chosen.tolist()
        rows = np.flatnonzero(known != UNLABELLED)
        head.learn(data.features[rows], known[rows])
        answers = head.probabilities(data.validation).argmax(1)
        accuracies.append(float((answers == data.validation_labels).mean()))
        done(len(chosen))
    return Curve(tuple(rounds), tuple(accuracies), tuple(order))


def _missing(known: NDArray[np.int64], data: Replayed) -> NDArray[np.int64]:
    have = np.bincount(known[known != UNLABELLED], minlength=data.classes)
    return np.maximum(data.wanted - have, 0)
