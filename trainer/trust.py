"""How far a run's answers can be trusted, from what it says of the images held out.

A validation set is a sample: so every share comes with an interval, and what was fitted on these images (the
temperature) is judged on the ones it was not fitted on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.evaluate import fit_temperature
from trainer.intervals import wilson

Interval = tuple[float, float]
Floats = NDArray[np.floating[Any]]

_BINS = 15
_FOLDS = 5
_RESAMPLES = 2000
_PRECISION = 0.99
_FEWEST_ABOVE = 20
"""Answers that a threshold must rest on: below that, a few lucky ones would make one for any class."""


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error, 0-1: how far the scores lie from the share of answers that are right."""

    before: float
    """Of the bare softmax."""
    after: float
    """With a temperature fitted on four fifths of the images and judged on the others, in turn."""
    chance: float
    """What scores without any error would show on so many images, on average: the estimator's own noise."""


@dataclass(frozen=True)
class Threshold:
    """Where a class's answers are right so many times in 100, 99 unless told."""

    score: float | None
    """The smallest calibrated score from which on that holds here; None where no score keeps it for 20 answers."""
    images: int
    """Answers of this class with that score or more."""
    right: int
    lower: float
    """Lower bound (Wilson, 95 %) of the share that is right: what so few images prove. 0 without a threshold."""


@dataclass(frozen=True)
class ClassTrust:
    """One class on the images held out. A share of nothing is None."""

    images: int
    recall: float | None
    """Share of its images that are given to it."""
    recall_interval: Interval
    answers: int
    precision: float | None
    """Share of the answers with its name that are right."""
    precision_interval: Interval


@dataclass(frozen=True)
class Trust:
    """All that is known of a run's answers. Intervals are at 95 %."""

    accuracy: float
    accuracy_interval: Interval
    """Wilson's: holds on few images, and where all of them are right."""
    accuracy_bootstrap: Interval
    macro_recall: float
    """Mean of the recall over the classes that have images: accuracy, were they all of one size."""
    macro_recall_interval: Interval
    """By bootstrap."""
    calibration: Calibration
    thresholds: dict[str, Threshold]
    classes: dict[str, ClassTrust]
    confusion: list[list[int]]
    """Images by true class (rows) and answer (columns), in the run's order of classes."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = asdict(self)
        calibration = found.pop("calibration")
        return {**found, **{f"ece_{name}": value for name, value in calibration.items()}}


def trust(logits: Tensor, labels: Tensor, classes: Sequence[str], temperature: float) -> Trust:
    """Judge outputs, (N, classes), that were not divided by the temperature yet; N is at least 1."""
    counts = confusion(logits.argmax(1), labels, len(classes))
    right, images = counts.diagonal(), counts.sum(1)
    held = images > 0
    accuracy, macro = _bootstrap(right[held], images[held])
    scores, answers = _scores(logits, temperature)
    correct = answers == labels.numpy()
    return Trust(
        accuracy=float(right.sum() / images.sum()),
        accuracy_interval=wilson(int(right.sum()), int(images.sum())),
        accuracy_bootstrap=accuracy,
        macro_recall=float((right[held] / images[held]).mean()),
        macro_recall_interval=macro,
        calibration=calibration(logits, labels),
        thresholds={
            name: threshold(scores[answers == label], correct[answers == label]) for label, name in enumerate(classes)
        },
        classes={name: _class_trust(counts, label) for label, name in enumerate(classes)},
        confusion=counts.tolist(),
    )


def confusion(answers: Tensor, labels: Tensor, classes: int) -> NDArray[np.int64]:
    """Count images by true class (rows) and answer (columns)."""
    counts = torch.bincount(labels * classes + answers, minlength=classes * classes)
    found: NDArray[np.int64] = counts.view(classes, classes).numpy()
    return found


def calibration(logits: Tensor, labels: Tensor) -> Calibration:
    """Give the calibration error before and after temperature scaling, the latter by cross-validation.

    Of the answer's own score (top-label), not of all classes'. Fitted and measured on the same images, the error after
    would be too good: so each fifth is scaled by the temperature of the other four, and the error is that of all.
    """
    truth = labels.numpy()
    before, answers = _scores(logits, 1.0)
    after = np.empty_like(before)
    for fold in range(min(_FOLDS, len(labels))):
        inside = torch.arange(len(labels)) % _FOLDS == fold  # in the order of their hashes: at random
        temperature = fit_temperature(logits[~inside], labels[~inside])
        after[inside.numpy()] = _scores(logits[inside], temperature)[0]
    correct = answers == truth
    return Calibration(
        before=calibration_error(before, correct),
        after=calibration_error(after, correct),
        chance=_calibration_error_by_chance(after),
    )


def calibration_error(scores: Floats, right: NDArray[np.bool_]) -> float:
    """Mean distance between score and share of right answers over 15 bins, each with as many images.

    Bins of equal mass (Nguyen and O'Connor, EMNLP 2015) rather than of equal width: of a good network nearly all
    scores lie in the topmost of those, and the others hold a few images each, which is noise.
    """
    order = np.argsort(scores, kind="stable")
    return float(_errors(scores[order], right[order][None].astype(np.float64))[0])


def _errors(scores: Floats, right: Floats) -> Floats:
    """Calibration errors of several outcomes, (R, N), for one row of scores in ascending order, (N,)."""
    count = len(scores)
    starts = np.linspace(0, count, min(_BINS, count), endpoint=False).astype(int)
    gaps: Floats = np.add.reduceat(right - scores, starts, axis=1)
    found: Floats = np.abs(gaps).sum(axis=1) / count
    return found


def _calibration_error_by_chance(scores: Floats) -> float:
    ascending = np.sort(scores)
    drawn = np.random.default_rng(0).random((200, len(scores)))
    return float(_errors(ascending, (drawn < ascending).astype(np.float64)).mean())


def threshold(scores: Floats, right: NDArray[np.bool_], precision: float = _PRECISION) -> Threshold:
    """Find the smallest score from which on a share `precision` of one class's answers is right, given all of them.

    For 99 in 100, under 100 answers that means: all of them. It is what these images show, not what they prove: 381
    answers without an error would prove it, 50 prove 93 %. `lower` says so.
    """
    order = np.argsort(-scores, kind="stable")
    descending, hits = scores[order], np.cumsum(right[order])
    count = np.arange(1, len(scores) + 1)
    last = np.append(descending[1:] != descending[:-1], True)[: len(scores)]  # equal scores stand or fall together
    good = np.flatnonzero(last & (count >= _FEWEST_ABOVE) & (hits >= precision * count - 1e-9))
    if not len(good):
        return Threshold(None, 0, 0, 0.0)
    at = int(good[-1])
    return Threshold(float(descending[at]), at + 1, int(hits[at]), wilson(int(hits[at]), at + 1)[0])


def _scores(logits: Tensor, temperature: float) -> tuple[Floats, NDArray[np.int64]]:
    scores, answers = functional.softmax(logits.double() / temperature, dim=1).max(1)
    return scores.numpy(), answers.numpy()


def _class_trust(counts: NDArray[np.int64], label: int) -> ClassTrust:
    right, images, answers = int(counts[label, label]), int(counts[label].sum()), int(counts[:, label].sum())
    return ClassTrust(
        images=images,
        recall=right / images if images else None,
        recall_interval=wilson(right, images),
        answers=answers,
        precision=right / answers if answers else None,
        precision_interval=wilson(right, answers),
    )


def _bootstrap(right: NDArray[np.int64], images: NDArray[np.int64]) -> tuple[Interval, Interval]:
    """Percentile bootstrap (Efron 1979) of accuracy and macro recall, from right answers and images a class.

    Drawn within each class, as the split is. How many of n images drawn again are right is then binomial, so nothing
    need be drawn image by image.
    """
    drawn = np.random.default_rng(0).binomial(images, right / images, (_RESAMPLES, len(images)))
    return _middle(drawn.sum(axis=1) / images.sum()), _middle((drawn / images).mean(axis=1))


def _middle(values: Floats) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
