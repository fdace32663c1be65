"""Learning curves: what further labels are worth, how sure that is, and rounds that say next to nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from curate.rounds.curve import LEVEL, Curve, Estimate, Point, fit

Law = Callable[[float], float]


def law(ceiling: float, first: float, exponent: float) -> Law:
    """An inverse power law from so much accuracy at 50 labels."""
    return lambda labels: ceiling - (ceiling - first) * (labels / 50) ** -exponent


def rounds(true: Law, count: int, images: int, rng: np.random.Generator | None = None) -> list[Point]:
    """Rounds of 50 labels each; by a generator as chance has it, else as exact as it gets."""
    labels = range(50, 50 * count + 1, 50)
    if rng is None:
        return [Point(n, true(n) * images, images) for n in labels]
    return [Point(n, int(rng.binomial(images, true(n))), images) for n in labels]


def holds(found: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return found.low - 1e-9 <= truth <= found.high + 1e-9


def test_an_exact_law_is_found() -> None:
    """From rounds without noise the next labels' worth is right to a tenth of itself, and what all give to 0.01."""
    true = law(0.85, 0.3, 0.6)
    found = fit(rounds(true, 12, 2000))
    gain = true(700) - true(600)
    assert found.labels == 600
    assert found.gain(100).value == pytest.approx(gain, rel=0.1)
    assert found.at(2000).value == pytest.approx(true(2000), abs=0.01)
    assert holds(found.limit, 0.85)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of rounds drawn from laws of all kinds nine in ten intervals hold what comes, and never under eight."""
    rng = np.random.default_rng(1)
    held: dict[str, list[bool]] = {"gain": [], "whole": [], "ceiling": []}
    for _ in range(30):
        ceiling, first, exponent = rng.uniform(0.6, 0.99), rng.uniform(0.1, 0.5), rng.uniform(0.2, 1.2)
        true, count = law(ceiling, first, exponent), int(rng.integers(4, 16))
        found = fit(rounds(true, count, 500, rng))
        held["gain"].append(holds(found.gain(100), true(found.labels + 100) - true(found.labels)))
        held["whole"].append(holds(found.at(2000), true(2000)))
        held["ceiling"].append(holds(found.limit, ceiling))
    assert all(np.mean(each) >= LEVEL - 0.1 for each in held.values())


def widths(found: Curve) -> tuple[float, float]:
    """How unsure it is of the next labels and of the end."""
    gain, end = found.gain(100), found.at(2000)
    return gain.high - gain.low, end.high - end.low


def test_more_is_known_by_more_images_and_less_of_what_is_far() -> None:
    """Held out images make an interval narrower; the end of the pool is less sure than the next batch."""
    true = law(0.8, 0.3, 0.5)
    few, many = (widths(fit(rounds(true, 6, images))) for images in (40, 2000))
    assert few[0] > many[0]
    assert few[1] > many[1]
    assert many[1] > many[0]


def test_what_has_levelled_off_is_worth_nothing() -> None:
    """Rounds that say the same again and again gain less than 0.01 from the next hundred, and want few more."""
    found = fit([Point(n, 400, 500) for n in range(200, 2001, 200)])
    assert abs(found.gain(100).value) < 0.005
    assert found.more_for(2500).low == 0


def test_labels_to_come_end_with_all_of_them() -> None:
    """No more are ever said to be needed than there is room for; none once all are there."""
    found = fit(rounds(law(0.99, 0.1, 0.2), 5, 100))
    needed = found.more_for(1000)
    assert 0 <= needed.low <= needed.value <= needed.high <= 750
    assert found.more_for(200) == Estimate(0, 0, 0)


@pytest.mark.parametrize(
    "points",
    [
        [Point(n, n, n) for n in (1, 2, 3, 4)],
        [Point(n, 0, 5) for n in (10, 20, 30, 40)],
        [Point(10 * n, n % 2, 1) for n in range(1, 9)],
        [Point(10 * n, 50 - 5 * n, 50) for n in range(1, 9)],
    ],
    ids=["all right", "none right", "one image", "falling"],
)
def test_rounds_that_say_little_are_no_error(points: list[Point]) -> None:
    """All right, none right, one image, or ever worse: every figure is a number, accuracies are between 0 and 1."""
    found = fit(points)
    for one in (found.at(100), found.at(1000), found.limit):
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert np.isfinite([found.gain(100).low, found.gain(100).high, found.more_for(500).high]).all()


def test_the_same_rounds_say_the_same() -> None:
    """Nothing is left to chance."""
    points = rounds(law(0.8, 0.3, 0.5), 6, 100)
    assert fit(points).gain(100) == fit(points).gain(100)
