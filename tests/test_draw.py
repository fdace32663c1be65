"""The demonstration's own pictures: repeatable, each another one, 13 kinds, any size."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from curate.demo.draw import CLASSES, draw
from curate.ingest.facts import phash


def test_the_same_seed_draws_the_same_bytes() -> None:
    """A picture depends on its name and seed alone, and not on what was drawn before it."""
    first = {name: draw(name, 7, 64).tobytes() for name in CLASSES}
    assert {name: draw(name, 7, 64).tobytes() for name in reversed(CLASSES)} == first


def test_another_seed_or_name_draws_another_picture() -> None:
    """No two of 13 classes and 5 seeds give the same bytes."""
    drawn = {draw(name, seed, 64).tobytes() for name in CLASSES for seed in range(5)}
    assert len(drawn) == 5 * len(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("size", [16, 33, 96, 256])
def test_every_class_draws_at_every_size(name: str, size: int) -> None:
    """A picture is RGB, of the size asked for, and neither flat nor all black or white."""
    picture = draw(name, 3, size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))
    pixels = np.asarray(picture)
    assert pixels.std() > 10
    assert 20 < pixels.mean() < 235


@pytest.mark.parametrize("name", CLASSES)
def test_the_size_changes_the_detail_and_not_the_scene(name: str) -> None:
    """A large picture reduced is the small picture, up to noise and thin lines (two scenes are some 50 apart)."""
    large, small = (
        draw(name, 5, size).resize((32, 32), Image.Resampling.BOX).convert("L").tobytes() for size in (256, 128)
    )
    apart = np.abs(np.frombuffer(large, np.uint8).astype(int) - np.frombuffer(small, np.uint8))
    assert apart.mean() < 20


def test_there_are_13_classes_in_the_presets_order() -> None:
    """The names are those of the preset `guitars`."""
    assert CLASSES[:6] == ("Stratocaster", "Telecaster", "Jazzmaster", "Jaguar", "Mustang", "LesPaul")
    assert CLASSES[6:] == ("SG", "FlyingV", "Explorer", "Firebird", "SemiHollow", "Hollow", "Acoustic")


@pytest.mark.parametrize("name", ["Banjo", "stratocaster", ""])
def test_an_unknown_class_is_refused_by_name(name: str) -> None:
    """The message says what was asked for and what there is."""
    with pytest.raises(ValueError, match=rf"no class '{name}': there are Stratocaster, .*, Acoustic"):
        draw(name, 0)


@pytest.mark.parametrize(("seed", "size"), [(-1, 256), (0, 15), (0, 0)])
def test_a_negative_seed_and_a_tiny_size_are_refused(seed: int, size: int) -> None:
    """The message gives both numbers and their bounds."""
    with pytest.raises(ValueError, match=f"seed {seed}, size {size}: they must be at least 0 and 16"):
        draw("SG", seed, size)


def test_no_two_pictures_of_a_class_are_near_duplicates() -> None:
    """Among 40 seeds a class, no pair has pHashes 2 bits apart or less, and hardly one is a candidate at 10 bits."""
    close = pairs = 0
    for name in CLASSES:
        hashes = [phash(draw(name, seed, 64)) for seed in range(40)]
        for one, other in combinations(hashes, 2):
            bits = ((one ^ other) % (1 << 64)).bit_count()
            assert bits > 2, f"two pictures of {name} are {bits} bits apart"
            close += bits <= 10
            pairs += 1
    assert close < pairs / 200
