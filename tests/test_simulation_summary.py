"""What a simulation's figures mean: labels needed, intervals over seeds, differences to random."""

import numpy as np
import pytest
from scipy.stats import t as students_t

from curate.simulation.replay import Curve
from curate.simulation.summary import against_random, mean_of, needed, saved


def curve(*accuracy: float, step: int = 10) -> Curve:
    """A curve over 10, 20, 30… labels."""
    labels = tuple(step * (place + 1) for place in range(len(accuracy)))
    return Curve(labels, accuracy, tuple(range(labels[-1])))


def test_labels_needed_are_read_from_the_rising_curve() -> None:
    """Between two rounds by a straight line; one lucky round counts no more than the dip that follows it."""
    assert needed(curve(0.2, 0.4, 0.6, 0.8), 0.5) == pytest.approx(25)
    assert needed(curve(0.2, 0.4, 0.6, 0.8), 0.2) == 10
    assert needed(curve(0.2, 0.4, 0.6, 0.8), 0.9) is None
    assert needed(curve(0.2, 0.7, 0.5, 0.6, 0.8), 0.65) == pytest.approx(42.5)


def test_intervals_are_students_over_seeds_and_paired() -> None:
    """Seeds that begin badly for both strategies do not widen the interval of the difference."""
    assert mean_of([0.5]).spread is None
    values = [0.50, 0.56, 0.53]
    low, high = students_t.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / 3**0.5)
    found = mean_of(values)
    assert found.spread is not None
    assert (found.value - found.spread, found.value + found.spread) == pytest.approx((low, high))
    curves = {
        "random": {1: curve(0.2, 0.5), 2: curve(0.4, 0.7)},
        "margin": {1: curve(0.2, 0.6), 2: curve(0.4, 0.8)},
    }
    ahead = against_random(curves, "margin", 1)
    assert (ahead.value, ahead.spread) == pytest.approx((0.1, 0.0))
    assert f"{ahead:+}" == "+0.100 ±0.000"
    report = {one.strategy: one for one in saved(curves, 20, {1: 0.71, 2: 0.71})}
    assert (report["margin"].reached, report["random"].reached) == (1, 1)
    assert report["margin"].share is report["margin"].less is None
    report = {one.strategy: one for one in saved(curves, 20, {1: 0.51, 2: 0.51})}
    assert report["random"].share is not None
    assert report["margin"].less is not None
    assert report["margin"].less.value > 0


def test_a_seed_is_measured_by_what_all_labels_give_with_it() -> None:
    """One that is lucky with all labels leaves the others within reach."""
    curves = {"random": {1: curve(0.5, 0.7, 0.9), 2: curve(0.5, 0.7, 0.85)}}
    (found,) = saved(curves, 30, {1: 0.9, 2: 0.85})
    assert found.reached == 2
    assert found.share is not None
    assert saved(curves, 30, {1: 0.9, 2: 0.9})[0].share is None
