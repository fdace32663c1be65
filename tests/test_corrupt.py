"""`trainer.corrupt` and `trainer.draw`: what is done to pictures, how much of it, and by which chance."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pictures import picture
from trainer import corrupt
from trainer.augment import vary
from trainer.corrupt import CORRUPTIONS, spoil
from trainer.draw import box_cover, polygon_cover, smooth_curve, stroke_cover
from trainer.recipes import FAST

CPU = torch.device("cpu")
LEVELS = [(name, strength) for name, found in CORRUPTIONS.items() for strength in found.strengths]


def images(count: int = 4, size: tuple[int, int] = (64, 48)) -> Tensor:
    """Different pictures, (count, 3, height, width), higher than wide."""
    drawn = np.stack([np.asarray(picture(seed, (size[1], size[0]))) for seed in range(count)])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "strength"), LEVELS)
def test_every_corruption_spoils_each_picture_and_keeps_its_form(name: str, strength: float) -> None:
    """Shape, type and range stay, the given pictures are left alone, and the same seed spoils in the same way."""
    given = images()
    kept = given.clone()
    apply = CORRUPTIONS[name].apply
    found = apply(given, strength, generator())
    assert (found.shape, found.dtype) == (given.shape, given.dtype)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(given, kept)
    assert (found != given).flatten(1).any(1).all()
    assert torch.equal(found, apply(given, strength, generator()))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_harder_strength_changes_more(name: str) -> None:
    """From each strength to the next the mean change of sixteen pictures grows."""
    given, found = images(16), CORRUPTIONS[name]
    changes = [(found.apply(given, one, generator()) - given).abs().mean().item() for one in found.strengths]
    assert changes == sorted(changes)
    assert len(set(changes)) == len(changes) == 5


@pytest.mark.parametrize("name", ["scribble", "occlusion", "noise", "brightness", "rotation"])
def test_chance_comes_from_the_generator_and_differs_from_picture_to_picture(name: str) -> None:
    """One picture eight times is not spoilt alike, nor by another seed in the same way."""
    same = images(1).expand(8, -1, -1, -1)
    apply, strength = CORRUPTIONS[name].apply, CORRUPTIONS[name].strengths[2]
    found = apply(same, strength, generator(1))
    assert len({one.numpy().tobytes() for one in found}) > 1
    assert not torch.equal(found, apply(same, strength, generator(2)))


@pytest.mark.parametrize("share", CORRUPTIONS["occlusion"].strengths)
def test_occlusion_hides_its_share_of_every_picture(share: float) -> None:
    """Of black pictures what patches hide is not black any more; at their edges pixels are hidden in part."""
    found = CORRUPTIONS["occlusion"].apply(torch.zeros(8, 3, 200, 200), share, generator())
    hidden = (found.amax(1) > 0).float().mean((1, 2))
    assert (hidden >= share - 0.001).all()
    assert (hidden <= share + 0.03).all()


def test_blur_and_noise_are_as_strong_as_they_say() -> None:
    """A point becomes a Gaussian of that width; gray gets noise of that standard deviation."""
    point = torch.zeros(1, 3, 101, 101)
    point[..., 50, 50] = 1
    spread = CORRUPTIONS["blur"].apply(point, 0.03, generator())[0, 0]
    offsets = torch.arange(101) - 50.0
    for axis in (0, 1):
        assert math.isclose((spread.sum(axis) * offsets**2).sum().sqrt().item(), 3.03, rel_tol=0.03)
    noisy = CORRUPTIONS["noise"].apply(torch.full((1, 3, 200, 200), 0.5), 0.08, generator())
    assert math.isclose(noisy.std().item(), 0.08, rel_tol=0.02)


def test_rotation_turns_both_ways_and_brightness_too() -> None:
    """A quarter turn of a picture is one of its two quarter turns; gray becomes half or twice as bright."""
    given = images(1, (32, 32)).expand(16, -1, -1, -1)
    left, right = torch.rot90(given, 1, (2, 3)), torch.rot90(given, -1, (2, 3))
    turned = CORRUPTIONS["rotation"].apply(given, 90, generator())
    ways = [[torch.allclose(one, way[0], atol=1e-4) for way in (left, right)] for one in turned]
    assert {tuple(way) for way in ways} == {(True, False), (False, True)}
    bright = CORRUPTIONS["brightness"].apply(torch.full((16, 3, 4, 4), 0.3), 2, generator())
    assert {round(value, 3) for value in set(bright.flatten().tolist())} == {0.15, 0.6}


def test_spoil_leaves_the_others_as_they_are() -> None:
    """About its share of the pictures is drawn over, each in a part; the rest keep every bit, and so does the given."""
    given = images(1, (32, 32)).expand(400, -1, -1, -1).contiguous()
    kept = given.clone()
    found = spoil(given, 0.3, generator())
    assert torch.equal(given, kept)
    changed = (found != given).flatten(1).any(1)
    assert 0.22 < changed.float().mean() < 0.38
    hidden = (found != given)[changed].any(1).float().mean((1, 2))
    assert hidden.min() > 0
    assert hidden.max() < 0.9
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, spoil(given, 0.3, generator()))


def test_spoil_draws_scribbles_shapes_and_erased_patches() -> None:
    """Over black a shape has one colour, an erased patch is gray or noise by a coin, and all kinds are as frequent."""
    black = torch.zeros(60, 3, 48, 48)
    shapes = [
        one[:, one.amax(0) > 0].T.unique(dim=0, return_counts=True)[1] for one in corrupt._shape(black, generator())
    ]
    assert all(counts.max() > 1 and (counts > 1).sum() == 1 for counts in shapes)
    erased = [one[:, one.amax(0) > 0].T for one in corrupt._erase(black, generator())]
    gray = [(one == 0.5).all(1).float().mean().item() > 0.5 for one in erased]
    assert 15 < sum(gray) < 45
    assert all(
        len(one.unique(dim=0)) > 0.95 * len(one) for one, is_gray in zip(erased, gray, strict=True) if not is_gray
    )
    found = spoil(torch.zeros(600, 3, 16, 16), 1.0, generator())
    assert 0.1 < ((found == 0.5).all(1).sum((1, 2)) >= 2).float().mean() < 0.24  # a sixth


def test_a_share_of_nothing_draws_nothing() -> None:
    """Recipes that spoil none vary pictures by the same chance as before there was any spoiling."""
    given, chance = images(), generator()
    before = chance.get_state()
    assert spoil(given, 0.0, chance) is given
    assert torch.equal(chance.get_state(), before)


def test_a_recipe_spoils_what_it_has_varied() -> None:
    """With a share the same pictures come out, but for what is drawn over some of them."""
    pixels = torch.from_numpy(np.stack([np.asarray(picture(seed, (32, 32))) for seed in range(16)]))
    plain = vary(pixels, 32, FAST, generator())
    spoilt = vary(pixels, 32, replace(FAST, spoil=0.5), generator())
    same = (plain == spoilt).flatten(1).all(1)
    assert 2 <= same.sum() <= 14
    assert all((one == other).float().mean() > 0.05 for one, other in zip(plain[~same], spoilt[~same], strict=True))


def test_boxes_and_ellipses_cover_their_area() -> None:
    """To a part of a pixel, wherever they lie; a square turned by an eighth too."""
    boxes = torch.tensor([[3.25, 4.5, 10.5, 7.25], [0.0, 0.0, 40.0, 40.0]])
    torch.testing.assert_close(box_cover(boxes, 40, 40, CPU).sum((1, 2, 3)), torch.tensor([10.5 * 7.25, 1600.0]))
    centres, axes = torch.full((3, 2), 50.0), torch.tensor([[30.0, 15.0], [20.0, 20.0], [20.0, 20.0]])
    angles, corners = torch.tensor([0.6, 0.0, 0.7]), torch.tensor([64, 4, 3])
    found = polygon_cover(centres, axes, angles, corners, 100, 100, CPU).sum((1, 2, 3))
    area = torch.tensor([math.pi * 30 * 15, 2 * 20**2, 0.75 * math.sqrt(3) * 20**2])
    torch.testing.assert_close(found, area, rtol=0.02, atol=0)


def test_a_stroke_is_the_set_of_points_near_its_line() -> None:
    """As if every pixel were measured to every piece of the line: also where pieces leave the picture."""
    points = torch.tensor([[[5.0, 8.0], [30.0, 20.0], [32.0, 20.5], [60.0, -4.0]]])
    found = stroke_cover(points, torch.tensor([2.5]), 40, 50, CPU)[0, 0]
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(50) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], dim=-1)
    nearest = torch.full((40, 50), math.inf)
    for start, end in zip(points[0, :-1], points[0, 1:], strict=True):
        along = end - start
        share = (((pixels - start) @ along) / along.dot(along)).clamp(0, 1)
        nearest = torch.minimum(nearest, (pixels - start - share.unsqueeze(-1) * along).norm(dim=-1))
    torch.testing.assert_close(found, (3.0 - nearest).clamp(0, 1), atol=1e-4, rtol=0)


def test_curves_are_smooth_and_stay_inside_their_controls() -> None:
    """Directions turn little by little, and no point leaves the box of the controls."""
    controls = torch.rand(20, 8, 2, generator=generator())
    points = smooth_curve(controls, 32)
    assert points.shape == (20, 5 * 32 + 1, 2)
    assert (points >= controls.amin(1, keepdim=True) - 1e-6).all()
    assert (points <= controls.amax(1, keepdim=True) + 1e-6).all()
    steps = points.diff(dim=1)
    assert steps.diff(dim=1).norm(dim=2).max() < 0.004  # a polyline of the controls jumps by its whole step, 0.03
