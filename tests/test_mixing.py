"""`trainer.mixing`: pictures of a batch laid over one another, and labels that say how much of each is there."""

from dataclasses import replace

import pytest
import torch

from trainer.mixing import mix
from trainer.recipes import FAST, Recipe

PLAIN = replace(FAST, mixup=0.0, cutmix=0.0)


def flat(count: int = 6, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures each of one value, their row's number, and their labels, no two neighbours alike."""
    images = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1).expand(count, 3, side, side).contiguous()
    return images, torch.arange(count) % 3


def mixed(recipe: Recipe, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes of them."""
    images, labels = flat()
    return mix(images, labels, 3, recipe, torch.Generator().manual_seed(seed))


def test_a_recipe_that_mixes_nothing_leaves_all_as_it_is() -> None:
    """Pictures and labels are those given, and nothing is drawn."""
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    images, labels = flat()
    found, targets = mix(images, labels, 3, PLAIN, generator)
    assert found is images
    assert targets is labels
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("recipe", [replace(PLAIN, mixup=1.0), replace(PLAIN, cutmix=1.0)])
def test_labels_say_what_share_of_each_picture_is_there(recipe: Recipe) -> None:
    """The share of the picture before, by its pixels, is the share of its label; the picture itself has the most."""
    images, targets = mixed(recipe)
    own, other = torch.arange(6), torch.arange(6).roll(1)
    # A pixel of row r mixed with the row before holds r - share x (r - other).
    share = (own - images.mean((1, 2, 3))) / (own - other)
    assert ((share >= -1e-6) & (share <= 0.5 + 1e-6)).all()
    assert share.max() > 0.05
    assert torch.allclose(targets[own, other % 3], share, atol=1e-5)
    assert torch.allclose(targets.sum(1), torch.ones(6))


def test_cutmix_puts_one_rectangle_of_another_picture_in() -> None:
    """Every pixel is of one of the two, those of the other fill a rectangle."""
    images, _ = mixed(replace(PLAIN, cutmix=1.0))
    for row, image in enumerate(images[:, 0]):
        foreign = image != row
        assert set(image[foreign].unique().tolist()) <= {float((row - 1) % 6)}
        where = foreign.nonzero()
        if len(where):
            height, width = (where.max(0).values - where.min(0).values + 1).tolist()
            assert height * width == len(where)


def test_the_same_seed_mixes_the_same_and_another_one_otherwise() -> None:
    """With both ways, some batches take one and some the other."""
    both = replace(PLAIN, mixup=0.2, cutmix=1.0)
    assert torch.equal(mixed(both)[0], mixed(both)[0])
    whole = [bool((mixed(both, seed)[0] % 1 == 0).all()) for seed in range(12)]
    assert True in whole
    assert False in whole
