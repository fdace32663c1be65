"""How far answers can be trusted: calibration, thresholds, intervals, each against what a hand works out."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trainer.evaluate import fit_temperature
from trainer.intervals import wilson
from trainer.trust import _bootstrap, calibration, calibration_error, threshold, trust


def sure_of(answers: list[int], probability: float, classes: int = 2) -> Tensor:
    """Logits that give each answer this probability, and share the rest out evenly."""
    rest = (1 - probability) / (classes - 1)
    return torch.stack(
        [torch.full((classes,), rest).index_fill(0, torch.tensor([a]), probability) for a in answers]
    ).log()


def drawn(count: int, sharper: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of four classes and labels drawn from their own probabilities; then the logits times `sharper`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(count, 4, generator=generator)
    labels = torch.multinomial(functional.softmax(logits, dim=1), 1, generator=generator)[:, 0]
    return logits * sharper, labels


def test_the_calibration_error_is_the_distance_between_score_and_share_in_bins_of_equal_mass() -> None:
    """Thirty scores make fifteen bins of two; each bin counts by its images."""
    scores = np.linspace(0.5, 0.94, 30)
    assert calibration_error(scores, np.ones(30, bool)) == pytest.approx(1 - 0.72)
    half = np.tile([True, False], 15)  # in every bin one of two is right
    assert calibration_error(np.full(30, 0.8), half) == pytest.approx(0.3)
    first = np.arange(30) < 15  # seven bins all right, one half, seven all wrong
    assert calibration_error(scores, first) == pytest.approx(
        sum(abs(s.mean() - r.mean()) for s, r in zip(scores.reshape(15, 2), first.reshape(15, 2), strict=True)) / 15
    )


def test_three_images_make_three_bins() -> None:
    """Fewer images than bins are no error."""
    assert calibration_error(np.array([0.9, 0.5, 0.7]), np.array([True, True, False])) == pytest.approx(1.3 / 3)


def test_scores_that_are_true_show_no_more_error_than_chance() -> None:
    """On 4,000 images whose labels were drawn from the scores; made three times sharper, the error shows."""
    honest = calibration(*drawn(4000, 1.0))
    assert honest.before < 0.03
    assert honest.before == pytest.approx(honest.chance, abs=0.01)
    overconfident = calibration(*drawn(4000, 3.0))
    assert overconfident.before > 0.1
    assert overconfident.after < 0.03


def test_the_error_after_is_of_images_the_temperature_was_not_fitted_on() -> None:
    """Two fifths of the answers are wrong, all in one fold: fitted on the others alone, its scores stay too sure."""
    labels = torch.zeros(50, dtype=torch.long)
    answers = [int(row % 5 == 0) for row in range(50)]
    logits = sure_of(answers, 0.9)
    seen = fit_temperature(logits, labels)
    scores = functional.softmax(logits.double() / seen, dim=1).max(1).values.numpy()
    fitted = calibration_error(scores, np.array(answers) == 0)
    assert calibration(logits, labels).after > fitted + 0.1


def test_a_temperature_changes_no_answer() -> None:
    """Accuracy, recalls and the confusion matrix are the same at any temperature; the scores are not."""
    logits, labels = drawn(1000, 1.0)
    logits[:200, 0] += 30
    labels[:200] = 0
    cold, warm = (trust(logits, labels, "ABCD", temperature) for temperature in (0.5, 3.0))
    assert (cold.accuracy, cold.classes, cold.confusion) == (warm.accuracy, warm.classes, warm.confusion)
    assert cold.thresholds["A"].score != warm.thresholds["A"].score


def test_a_threshold_is_the_smallest_score_from_which_on_99_of_100_answers_are_right() -> None:
    """Thirty right answers above a wrong one and ten right ones below it: the lowest of the thirty."""
    scores = np.linspace(0.2, 0.6, 41)
    right = np.arange(41) != 10
    found = threshold(scores, right)
    assert found.score == pytest.approx(scores[11])
    assert (found.images, found.right) == (30, 30)
    assert found.lower == pytest.approx(0.8865, abs=1e-4)  # Wilson: 30 / (30 + 1.96²)


def test_one_error_in_a_hundred_is_allowed_and_two_are_not() -> None:
    """With 100 answers above, the wrong one may be the last of them."""
    scores = np.linspace(1.0, 0.5, 100)
    one = np.arange(100) < 99
    assert threshold(scores, one).images == 100
    two = one & (np.arange(100) != 50)
    assert threshold(scores, two).images == 50


def test_no_threshold_rests_on_a_handful_of_answers() -> None:
    """Nineteen are too few, none are too, and so are answers whose surest is wrong."""
    assert threshold(np.linspace(0.5, 1, 20), np.ones(20, bool)).images == 20
    for count, right in ((19, np.ones(19, bool)), (0, np.ones(0, bool)), (30, np.arange(30) < 29)):
        found = threshold(np.linspace(0.5, 1, count), right)
        assert (found.score, found.images, found.lower) == (None, 0, 0.0)


def test_equal_scores_stand_or_fall_together() -> None:
    """Of forty answers with one score, one wrong among them, none is above a threshold, in whatever order they came."""
    for wrong in (0, 20, 39):
        assert threshold(np.full(40, 0.9), np.arange(40) != wrong).score is None


def test_every_share_has_its_interval() -> None:
    """Accuracy and each class's recall and precision lie in theirs, which are Wilson's; a share of nothing is None."""
    labels = torch.tensor([0] * 10 + [1] * 30)
    found = trust(sure_of([0] * 8 + [1] * 2 + [1] * 30, 0.8, classes=3), labels, ["A", "B", "C"], 1.0)
    assert found.confusion == [[8, 2, 0], [0, 30, 0], [0, 0, 0]]
    assert found.accuracy == pytest.approx(38 / 40)
    assert found.macro_recall == pytest.approx((0.8 + 1) / 2)
    assert found.accuracy_interval == pytest.approx((0.8350, 0.9862), abs=1e-4)
    for low, high, share in (
        (*found.accuracy_bootstrap, found.accuracy),
        (*found.macro_recall_interval, found.macro_recall),
    ):
        assert low < share < high
    assert found.macro_recall_interval[0] < found.accuracy_bootstrap[0]  # the small class weighs more
    first, second, third = found.classes.values()
    assert (first.recall, first.precision, second.recall) == (0.8, 1.0, 1.0)
    assert second.precision == pytest.approx(30 / 32)
    assert (third.recall, third.precision, third.recall_interval) == (None, None, (0.0, 1.0))


def test_an_interval_holds_its_own_share_at_both_ends() -> None:
    """None or all of any number: the bound is the share itself, without a rounding error."""
    for of in range(1, 60):
        assert wilson(0, of)[0] == 0.0
        assert wilson(of, of)[1] == 1.0


def test_the_bootstrap_covers_the_true_accuracy() -> None:
    """Of 200 samples of 100 images, 95 % of the intervals should hold the truth; 90 % must."""
    hits = np.random.default_rng(1).binomial(50, 0.8, (200, 2))
    found = [_bootstrap(right, np.array([50, 50]))[0] for right in hits]
    assert sum(low <= 0.8 <= high for low, high in found) >= 180
