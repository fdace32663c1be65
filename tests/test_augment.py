"""`trainer.augment`, `cache` and `evaluate`: pixels in, numbers out, and nothing left to chance."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tests.pictures import encoded, picture
from trainer import cache
from trainer.augment import MEAN, STD, draw_affine, to_input, vary
from trainer.evaluate import Score, fit_temperature, outside_threshold
from trainer.manifest import TRAIN, Item
from trainer.optimise import EMA, Schedule
from trainer.pixels import to_rgb
from trainer.recipes import FAST, Recipe

STILL = replace(
    FAST,
    rotation=0.0,
    shift=0.0,
    zoom=0.0,
    stretch=0.0,
    mirror=False,
    flip=False,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
)


def pixels(count: int = 4, side: int = 32) -> torch.Tensor:
    """Some pictures, (count, side, side, 3) bytes."""
    return torch.from_numpy(np.stack([np.asarray(picture(seed, (side, side))) for seed in range(count)]))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_recipe_without_variation_changes_nothing() -> None:
    """What is left is the plain input, to a rounding error."""
    torch.testing.assert_close(vary(pixels(), 32, STILL, generator()), to_input(pixels(), 32), atol=2e-3, rtol=0)


def test_input_is_normalised_as_imagenet_networks_expect() -> None:
    """Undone, it is the picture."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    back = ((to_input(pixels(), 32) * std + mean) * 255).round().byte().permute(0, 2, 3, 1)
    assert torch.equal(back, pixels())


def test_variation_is_a_function_of_the_generator() -> None:
    """The same seed varies alike, another differently, and each picture of a batch in its own way."""
    same = pixels(1).expand(4, -1, -1, -1)
    one, again, other = (vary(same, 32, FAST, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize(
    ("changed", "low", "high"),
    [
        ({"rotation": 45.0}, 0.70, 1.0),
        ({"zoom": 0.25}, 1 / 1.25, 1.25),
        ({"mirror": True}, -1.0, 1.0),
    ],
)
def test_a_recipe_bounds_what_it_does(changed: dict[str, object], low: float, high: float) -> None:
    """Over many draws the map's first entry (cosine times scale) stays in the recipe's range, and uses all of it."""
    recipe: Recipe = replace(STILL, **changed)  # type: ignore[arg-type]
    first = draw_affine(4000, recipe, generator())[:, 0, 0]
    assert low - 1e-3 <= first.min()
    assert first.max() <= high + 1e-3
    assert first.min() < low + 0.05 * abs(high - low)
    assert first.max() > high - 0.05 * abs(high - low)


def items(folder: Path, count: int) -> list[Item]:
    found = []
    for seed in range(count):
        path = folder / f"{seed}.jpg"
        path.write_bytes(encoded(picture(seed, (300, 200))))
        found.append(Item(str(seed), path, hashlib.sha256(path.read_bytes()).hexdigest(), 0, TRAIN))
    return found


def test_the_cache_holds_what_decoding_gives_and_is_used_again(tmp_path: Path) -> None:
    """Rows are the decoded squares in order; a second load reads no image file, and a larger set takes rows over."""
    wanted = items(tmp_path, 5)
    first = np.array(cache.load(wanted[:4], 32, tmp_path / "cache"))
    for row, item in zip(first, wanted, strict=False):
        assert np.array_equal(row, cache.square(item.path.read_bytes(), 32))
    for item in wanted[:4]:
        item.path.unlink()
    assert np.array_equal(cache.load(wanted[:4], 32, tmp_path / "cache"), first)
    more = cache.load([wanted[4], *wanted[:4]], 32, tmp_path / "cache")
    assert np.array_equal(more[1:], first)


def test_several_may_use_the_caches_at_once_though_each_tidies_up_after_the_others(tmp_path: Path) -> None:
    """Two are kept, and six trainings of other images each make, read and remove them all the time."""
    wanted = items(tmp_path, 6)
    squares = [cache.square(item.path.read_bytes(), 16) for item in wanted]

    def used(start: int) -> bool:
        rows = [(start + step) % 6 for step in range(1 + start % 5)]
        return np.array_equal(
            cache.load([wanted[row] for row in rows], 16, tmp_path / "cache"), [squares[row] for row in rows]
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(used, range(150)))


def test_squares_hold_the_whole_picture() -> None:
    """A wide picture is squeezed, not cropped: its left and right ends are in the square."""
    wide = np.zeros((50, 400, 3), np.uint8)
    wide[:, :40], wide[:, -40:] = (255, 0, 0), (0, 0, 255)
    found = cache.square(encoded(Image.fromarray(wide), "PNG"), 40)
    assert found[20, 1].tolist() == [255, 0, 0]
    assert found[20, -2].tolist() == [0, 0, 255]
    assert to_rgb(Image.fromarray(wide)).size == (400, 50)


def test_a_nan_is_never_better() -> None:
    """Neither against nothing nor against the worst score, and ties go to the lower loss."""
    assert not Score(0.9, float("nan")).better_than(None)
    assert not Score(1.0, float("inf")).better_than(Score(0.0, 9.0))
    assert Score(0.5, 1.0).better_than(Score(0.5, 2.0))
    assert not Score(0.5, 2.0).better_than(Score(0.5, 2.0))


def test_temperature_brings_overconfident_scores_down_to_their_accuracy() -> None:
    """Of answers given as 99 % sure and right in 70 % of cases, the calibrated score is near 0.7."""
    rng = generator(3)
    labels = torch.randint(0, 4, (2000,), generator=rng)
    answers = torch.where(torch.rand(2000, generator=rng) < 0.7, labels, (labels + 1) % 4)
    logits = functional.one_hot(answers, 4).float() * 6
    temperature = fit_temperature(logits, labels)
    calibrated = functional.softmax(logits / temperature, dim=1).max(1).values.mean().item()
    assert functional.softmax(logits, dim=1).max(1).values.mean().item() > 0.98
    assert abs(calibrated - 0.7) < 0.03


def test_a_handful_of_right_answers_does_not_claim_certainty() -> None:
    """Three images, all right: the temperature stays near 1 instead of running to its end."""
    logits = functional.one_hot(torch.tensor([0, 1, 2]), 4).float() * 3
    assert 0.5 < fit_temperature(logits, torch.tensor([0, 1, 2])) < 1.2


def test_outside_lies_below_nearly_all_right_answers() -> None:
    """One right answer in twenty falls below the threshold; with few images there is none."""
    labels = torch.zeros(200, dtype=torch.long)
    logits = torch.zeros(200, 2)
    logits[:, 0] = torch.linspace(0.1, 5, 200)
    threshold = outside_threshold(logits, labels, 1.0)
    below = (functional.softmax(logits, dim=1).max(1).values < threshold).sum().item()
    assert below == 10
    assert outside_threshold(logits[:10], labels[:10], 1.0) == 0.0


def test_the_schedule_rises_then_falls_to_nothing() -> None:
    """It starts above zero, peaks at one where the rise ends, and the last step is nearly nothing."""
    factors = [Schedule(FAST, 100).factor(step) for step in range(100)]
    assert factors[0] > 0
    assert max(factors) == factors[10] == 1.0
    assert factors[-1] < 0.001
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_the_running_mean_is_put_back_after_use() -> None:
    """Inside the context the network carries the mean, and outside its own weights."""
    network = torch.nn.Linear(2, 1)
    average = EMA(network, 0.9)
    start = network.weight.detach().clone()
    with torch.no_grad():
        network.weight.add_(1.0)
    average.update(network)
    with average.applied(network):
        inside = network.weight.detach().clone()
    assert torch.equal(network.weight, start + 1.0)
    assert not torch.equal(inside, start + 1.0)
    assert torch.isclose(inside, start + 1.0 - 2 / 11, atol=1e-6).all()
