"""How far each label can be believed: what a model says that has not learned from it, weighed by confident learning."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from curate.simulation.head import Head

Numbers = NDArray[np.float64]
METHOD = "normalized_margin"
FILTER = "low_normalized_margin"


@dataclass(frozen=True)
class Scores:
    """Of images, in their order."""

    probabilities: Numbers
    """(N, K), each row by a model that has not learned from the image."""
    wrong: Numbers
    """(N,), from 0 to 1: how little speaks for the label, less than 0.5 where it is the most probable class."""
    flagged: NDArray[np.bool_]
    """(N,)."""


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    others: NDArray[np.float32],
    done: Callable[[int], None] = lambda _: None,
) -> tuple[Numbers, Numbers]:
    """Probabilities of the classes, (N, K), each fold's by a head that learned from all other folds.

    Those of `others`, (M, D), that are in no fold, are the mean over these heads, (M, K). `done` is called with the
    labels of each fold.
    """
    classes = int(labels.max()) + 1
    found = np.zeros((len(labels), classes))
    beside = np.zeros((len(others), classes))
    every = np.unique(folds)
    for fold in every:
        held = folds == fold
        scaler = StandardScaler().fit(features[~held])
        head = Head(classes).learn(scaler.transform(features[~held]), labels[~held])
        found[held] = head.probabilities(scaler.transform(features[held]))
        if len(others):
            beside += head.probabilities(scaler.transform(others)) / len(every)
        done(int(held.sum()))
    return found, beside


def judge(labels: NDArray[np.int64], probabilities: Numbers, threshold: float | None = None) -> Scores:
    """Weigh labels, (N,), against out-of-fold probabilities, (N, K).

    Flagged is what confident learning (Northcutt, Jiang and Chuang, "Confident learning: Estimating uncertainty in
    dataset labels", JAIR 2021) takes for wrong, or else what scores `threshold` or more.
    """
    from cleanlab.filter import find_label_issues  # noqa: PLC0415 - a second to import
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415 - as above

    quality = get_label_quality_scores(labels, probabilities, method=METHOD)
    wrong: Numbers = 1 - np.asarray(quality, np.float64)
    if threshold is None:
        flagged = np.asarray(find_label_issues(labels, probabilities, filter_by=FILTER, n_jobs=1), bool)
    else:
        flagged = wrong >= threshold
    return Scores(probabilities, wrong, flagged)
