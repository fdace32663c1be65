"""A learning curve, and how sure it is: what further labels are worth.

Accuracy from n labels follows an inverse power law, a - b n^-c (Cortes et al., NIPS 1993; Viering and Loog, "The shape
of learning curves", TPAMI 2022). Here it runs through three things that can be imagined: the accuracy now, the ceiling
a, and the exponent c. All that could be are weighed by how well they explain the rounds (Bayes, on a grid), instead of
the best of them alone being taken: a handful of rounds fits very different ceilings, and the interval has to say so.

No real curve is quite such a law. Taken for one it was sure of itself and wrong: intervals of 90 % held the gain of the
next 100 labels 23 times in 100 (rounds of 100 photographs of ten classes, three strategies, 500 validation images). So
a curve may drift from its law, by 0.02 for each factor of e in labels. That much less early rounds say, and that much
less sure is what is far ahead. docs/loop.md has how often the intervals hold with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LEVEL = 0.9
"""Of every interval here."""
FEWEST = 4
"""Rounds that are needed: three unknowns, and one to see whether they fit."""
CLOSE = 0.01
"""Accuracy below that of all labels that counts as having reached it."""
_EXPONENTS = np.geomspace(0.05, 2.0, 25)
_CEILINGS = np.linspace(0.0, 1.0, 41)
"""Of the way from the present accuracy to 1. Each is as likely beforehand, as are the exponents' logarithms."""
_LEVELS = 41
_REACH = 5.0
"""Standard errors around the last rounds' accuracy in which the present one is looked for."""
_DRIFT = 0.02
"""Standard deviation, in accuracy."""
_NOISE = np.geomspace(0.2, 4.0, 9)
"""Variance around the curve, in that of the binomial distribution. Less where rounds validate on the same images, for
these are hard or easy in all of them; more where the curve is no power law."""
_NOISE_SPREAD = 0.7
"""Of its logarithm beforehand, around 1."""
_DRAWN = 4000
"""Curves that stand for all: drawn by their weight, evenly (systematic resampling), so the same rounds say the same."""
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Point:
    """One round: labels in its split, and how many of the validation images it got right."""

    labels: int
    right: float
    images: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The middle of what may be, and the interval that holds it 9 times in 10."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Curves that may be, (C,) of each; all as likely."""

    labels: int
    """There are now."""
    present: Numbers
    """Accuracy now."""
    ceiling: Numbers
    exponent: Numbers
    drift: Numbers
    """How far a curve leaves its law, in accuracy for each factor of e in labels."""

    def at(self, labels: float) -> Estimate:
        """Accuracy from so many labels."""
        return _middle(self._at(labels))

    def gain(self, more: int) -> Estimate:
        """What so many labels more would add."""
        return _middle(self._at(self.labels + more) - self.present)

    def more_for(self, whole: int) -> Estimate:
        """Labels that are still to come until the accuracy is within 0.01 of that of `whole` labels."""
        steps = np.linspace(self.labels, max(whole, self.labels), _STEPS)
        found = np.stack([self._at(step) for step in steps])
        first = (found >= found[-1] - CLOSE).argmax(0)
        return _middle(steps[first] - self.labels)

    @cached_property
    def limit(self) -> Estimate:
        """Accuracy from any number of labels, were the law kept."""
        return _middle(self.ceiling)

    def _at(self, labels: float) -> Numbers:
        times = labels / self.labels
        law = self.ceiling - (self.ceiling - self.present) * times**-self.exponent
        found: Numbers = np.clip(law + self.drift * np.log(times), 0.0, 1.0)
        return found


def _middle(values: Numbers) -> Estimate:
    value, low, high = np.quantile(values, [0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Estimate(value, low, high)


def fit(points: Sequence[Point]) -> Curve:
    """Weigh all curves by how well they explain at least 4 rounds, given in order; with 1 image or more in each."""
    labels = np.array([point.labels for point in points], dtype=np.float64)
    images = np.array([point.images for point in points], dtype=np.float64)
    shares = np.array([point.right for point in points]) / images
    present = _present(shares, images)[:, None, None]
    ceiling = present + (1 - present) * _CEILINGS[None, :, None]
    exponent = np.broadcast_to(_EXPONENTS[None, None, :], (len(present), len(_CEILINGS), len(_EXPONENTS)))
    curves = ceiling[..., None] - (ceiling - present)[..., None] * (labels / labels[-1]) ** -_EXPONENTS[:, None]
    likely = _likelihood(np.clip(curves, 0.0, 1.0), shares, images, _DRIFT * np.log(labels[-1] / labels))
    mass = np.cumsum(likely.ravel())
    drawn = np.searchsorted(mass, (np.arange(_DRAWN) + 0.5) / _DRAWN * mass[-1])

    def chosen(values: Numbers) -> Numbers:
        found: Numbers = np.broadcast_to(values, exponent.shape).ravel()[drawn]
        return found

    drift = _DRIFT * np.random.default_rng(0).standard_normal(_DRAWN)
    return Curve(int(labels[-1]), chosen(present), chosen(ceiling), chosen(exponent), drift)


def _present(shares: Numbers, images: Numbers) -> Numbers:
    """Accuracies that the last round may truly have; (41,)."""
    centre = (shares[-1] * images[-1] + 1) / (images[-1] + 2)
    reach = _REACH * np.sqrt(centre * (1 - centre) / images[-1])
    return np.linspace(max(0.0, centre - reach), min(1.0, centre + reach), _LEVELS)


def _likelihood(curves: Numbers, shares: Numbers, images: Numbers, drift: Numbers) -> Numbers:
    """How well each curve, (..., rounds), explains the rounds, whatever the noise may be."""
    within = np.clip(curves, 0.5 / images, 1 - 0.5 / images)  # a curve that says 1 does not exclude a single error
    binomial = within * (1 - within) / images
    squares = (shares - curves) ** 2
    found = []
    for noise in _NOISE:
        variance = noise * binomial + drift**2
        misfit = (squares / variance + np.log(variance)).sum(-1)
        found.append(-0.5 * (misfit + (np.log(noise) / _NOISE_SPREAD) ** 2))
    logarithms = np.stack(found)
    total: Numbers = np.exp(logarithms - logarithms.max()).sum(0)
    return total
