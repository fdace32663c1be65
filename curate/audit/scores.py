"""How far each label can be believed: what a model says that has not learned from it, weighed by confident learning."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from trainer.discriminant import Discriminant, Numbers
from trainer.evaluate import fit_temperature


@dataclass(frozen=True)
class Scores:
    """Of images, in their order."""

    probabilities: Numbers
    """(N, K), each row by a model that has not learned from the image."""
    wrong: Numbers
    """(N,), from 0 to 1: how improbable the label is."""
    flagged: NDArray[np.bool_]
    """(N,)."""


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    others: NDArray[np.float32],
    done: Callable[[int], None] = lambda _: None,
) -> tuple[Numbers, Numbers]:
    """Probabilities of the classes, (N, K), each fold's by a model that learned from all other folds.

    Those of `others`, (M, D), that are in no fold, are by all of these together, (M, K). They learn twice: the
    second time without the labels that the first ones doubt, as cleanlab's CleanLearning does. `done` is called with
    the labels of each fold, each time.
    """
    every = np.ones(len(labels), bool)
    first, _ = _predicted(features, labels, folds, others, every, done)
    return _predicted(features, labels, folds, others, _believed(labels, first), done)


TIMES = 2
"""That models learn."""


def _predicted(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    others: NDArray[np.float32],
    believed: NDArray[np.bool_],
    done: Callable[[int], None],
) -> tuple[Numbers, Numbers]:
    classes = int(labels.max()) + 1
    found, beside = np.zeros((len(labels), classes)), np.zeros((len(others), classes))
    every = np.unique(folds)
    for fold in every:
        held = folds == fold
        model = Discriminant().learn(features[~held & believed], labels[~held & believed])
        found[held] = model.outputs(features[held])
        if len(others):
            beside += model.outputs(others) / len(every)
        done(int(held.sum()))
    # It takes its features for independent, and so is far too sure: confident learning needs probabilities that hold.
    temperature = fit_temperature(torch.from_numpy(found[believed]), torch.from_numpy(labels[believed]))
    return _softmax(found / temperature), _softmax(beside / temperature)


def calibrated(outputs: Numbers, labels: NDArray[np.int64]) -> Numbers:
    """Probabilities, (N, K), from outputs of models that have not learned from the images, by one temperature for all.

    It is fitted twice, as `out_of_fold` learns: the second time without the labels that are doubted by the first.
    """
    first = _scaled(outputs, outputs, labels)
    believed = _believed(labels, first)
    return _scaled(outputs, outputs[believed], labels[believed])


def _scaled(outputs: Numbers, by: Numbers, labels: NDArray[np.int64]) -> Numbers:
    return _softmax(outputs / fit_temperature(torch.from_numpy(by), torch.from_numpy(labels)))


def _softmax(outputs: Numbers) -> Numbers:
    return np.asarray(functional.softmax(torch.from_numpy(outputs), dim=1).numpy(), np.float64)


def _believed(labels: NDArray[np.int64], probabilities: Numbers) -> NDArray[np.bool_]:
    """Labels to learn from, (N,): those that are not doubted, but all of a class that would lose half of its own."""
    doubted = _doubted(labels, probabilities)
    lost = np.bincount(labels[doubted], minlength=len(probabilities[0]))
    spared = 2 * lost >= np.bincount(labels, minlength=len(probabilities[0]))
    return ~doubted | spared[labels]


def _doubted(labels: NDArray[np.int64], probabilities: Numbers) -> NDArray[np.bool_]:
    from cleanlab.filter import find_label_issues  # noqa: PLC0415 - a second to import

    return np.asarray(find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1), bool)


def judge(labels: NDArray[np.int64], probabilities: Numbers, threshold: float | None = None) -> Scores:
    """Weigh labels, (N,), against out-of-fold probabilities, (N, K).

    Flagged are the least probable labels, as many as confident learning (Northcutt, Jiang and Chuang, "Confident
    learning: Estimating uncertainty in dataset labels", JAIR 2021) takes for wrong; or else those that score
    `threshold` or more.
    """
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415 - a second to import

    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    wrong: Numbers = 1 - np.asarray(quality, np.float64)
    return Scores(probabilities, wrong, _doubted(labels, probabilities) if threshold is None else wrong >= threshold)
