"""The reduction of gray pictures to 32 x 32 is Pillow's own, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curate.ingest.shrink import shrink, weights

LANCZOS = Image.Resampling.LANCZOS


def assert_as_pillow(pixels: NDArray[np.uint8]) -> None:
    gray = Image.fromarray(pixels)
    assert shrink(gray).tobytes() == gray.resize((32, 32), LANCZOS).tobytes(), gray.size


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize(
    "size",
    [
        *((1, 1), (32, 32), (17, 5000), (5000, 17), (255, 255), (256, 1), (256, 32), (256, 384), (256, 385)),
        *((257, 31), (1024, 768), (1023, 767), (768, 1024), (1000, 1500), (1000, 1501), (1000, 2000), (500, 3000)),
        *((4001, 301), (6000, 4000), (20_001, 40), (70_000, 20)),
    ],
)
def test_noise_of_any_shape_comes_out_as_from_pillow(size: tuple[int, int]) -> None:
    """No size, tall, wide, tiny or huge, makes a difference."""
    assert_as_pillow(noise(*size))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 1500), st.integers(0, 9), st.sampled_from([1, 128, 255]))
def test_random_sizes_and_contrasts_come_out_as_from_pillow(width: int, height: int, seed: int, step: int) -> None:
    """With a step of 255 all pixels are black or white, which overshoots the most."""
    assert_as_pillow(noise(width, height, seed) // step * step)


@pytest.mark.parametrize("width", [256, 300, 1000, 1024, 4099])
def test_extreme_pictures_come_out_as_from_pillow(width: int) -> None:
    """Flat white, and stripes that hit the weights' signs, are where sums are largest."""
    assert_as_pillow(np.full((300, width), 255, np.uint8))
    for output in range(0, 32, 5):
        row = np.where(weights(width)[:, output] > 0, 255, 0).astype(np.uint8)
        assert_as_pillow(np.repeat(row[None], 40, axis=0))
        assert_as_pillow(np.repeat(255 - row[None], 40, axis=0))


def weights_of_pillow(length: int) -> NDArray[np.int32]:
    """Pillow's weights, as it shows them: its 32-bit filter rounds likewise, and one pixel of 2**22 yields them.

    Pixels so far apart that none of the 32 sees two of them share a row.
    """
    apart = 2 * int(np.ceil(3 * length / 32)) + 1
    pixel = np.arange(length)
    rows = np.zeros((apart, length), np.int32)
    rows[pixel % apart, pixel] = 1 << 22
    seen = np.asarray(Image.fromarray(rows).resize((32, apart), LANCZOS))
    centre = (np.arange(32) + 0.5) * length / 32
    near = np.abs(pixel[:, None] + 0.5 - centre) < 3 * length / 32
    return np.where(near, seen[pixel % apart], 0)


@pytest.mark.parametrize("length", [*range(32, 400, 7), 640, 683, 1023, 1024, 1280, 1920, 3000, 6001])
def test_the_weights_are_those_of_pillow(length: int) -> None:
    """Each weight is the whole number that Pillow rounds it to."""
    assert (weights(length) == weights_of_pillow(length)).all()


@pytest.mark.soak
def test_the_weights_are_those_of_pillow_at_every_length() -> None:
    """From 32 to 8000 pixels."""
    for length in range(32, 8000):
        assert (weights(length) == weights_of_pillow(length)).all(), length
