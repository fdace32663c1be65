"""The look at two pictures: every kind of copy is known, and what only looks alike is not."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from curate.dedup.compare import Limits, compare
from curate.dedup.layout import LENGTH, Nearest, layout, unit, without_frame
from curate.dedup.picture import look_at, read_rgb
from tests.pictures import encoded, picture

SIZE = (320, 240)


def scene(seed: int, shapes: int = 60) -> Image.Image:
    """A picture with detail: many shapes of every colour over a light ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", SIZE, (236, 236, 230))
    draw = ImageDraw.Draw(image)
    for _ in range(shapes):
        x, y = (int(v) for v in rng.integers(0, SIZE))
        width, height = (int(v) for v in rng.integers(6, 46, 2))
        form = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        form((x, y, x + width, y + height), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def watermarked(image: Image.Image) -> Image.Image:
    """Half-transparent words across a picture."""
    over = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(over)
    for y in range(10, image.height, 80):
        draw.text((20, y), "guitars.example", fill=(255, 255, 255, 150))
    return Image.alpha_composite(image.convert("RGBA"), over).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without `share` of each side's length, off the middle."""
    left, top = int(image.width * share * 0.8), int(image.height * share * 0.2)
    return image.crop((left, top, left + int(image.width * (1 - share)), top + int(image.height * (1 - share))))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((160, 120), Image.Resampling.LANCZOS),
    "larger": lambda image: image.resize((640, 480), Image.Resampling.BICUBIC),
    "watermarked": watermarked,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "cropped by 10 %": lambda image: cropped(image, 0.1),
    "cropped by 20 %": lambda image: cropped(image, 0.2),
    "padded": lambda image: ImageOps.expand(image, 40, "white"),
    "framed in black": lambda image: ImageOps.expand(image, 40, "black"),
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.rotate(4, Image.Resampling.BICUBIC, fillcolor="white"),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_copies_are_the_same_photograph(kind: str, seed: int) -> None:
    """Whatever was done to a copy, it is known, whichever of the two is looked at first."""
    original = look_at(encoded(scene(seed), quality=92))
    copy = look_at(encoded(COPIES[kind](scene(seed)), quality=80))
    for verdict in (compare(original, copy), compare(copy, original)):
        assert verdict.same, verdict
        assert 0 < verdict.score <= 1
        assert ("mirrored" in verdict.reason) == (kind == "mirrored")


def test_a_heavily_compressed_copy_is_the_same() -> None:
    """Re-encoding costs detail, not likeness."""
    assert compare(look_at(encoded(scene(1), "PNG")), look_at(encoded(scene(1), quality=30))).same


def test_the_same_scene_in_other_colours_is_another_picture() -> None:
    """Another finish of one guitar has every line in common."""
    red, green, blue = scene(1).split()
    other = Image.merge("RGB", (blue, red, green))
    verdict = compare(look_at(encoded(scene(1))), look_at(encoded(other)))
    assert not verdict.same


@pytest.mark.parametrize("seed", range(2, 8))
def test_other_scenes_are_other_pictures(seed: int) -> None:
    """Even those drawn by the same hand, or with a part in common."""
    first = scene(1)
    assert not compare(look_at(encoded(first)), look_at(encoded(scene(seed)))).same
    half = scene(seed)
    half.paste(first.crop((0, 0, 160, 240)), (0, 0))
    assert not compare(look_at(encoded(first)), look_at(encoded(half))).same


def test_pictures_without_detail_are_the_same_only_if_they_are_so_all_over() -> None:
    """Where features are missing, thumbnails decide, as strictly as is set."""
    smooth, other = look_at(encoded(picture(1), "PNG")), look_at(encoded(picture(2), "PNG"))
    again = look_at(encoded(picture(1), quality=60))
    assert compare(smooth, again).same
    assert not compare(smooth, other).same
    assert not compare(smooth, again, Limits(difference=0.0)).same
    blank = look_at(encoded(Image.new("RGB", (50, 50), "white"), "PNG"))
    assert compare(blank, blank).same


def test_frames_are_cut_off() -> None:
    """A margin of one colour, and one within it; a picture that is all margin stays."""
    rng = np.random.default_rng(1)
    inside = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    framed = np.pad(np.pad(inside, ((9, 9), (7, 7), (0, 0)), constant_values=255), ((5, 5), (5, 5), (0, 0)))
    assert abs(without_frame(framed).shape[0] - 60) <= 6
    assert abs(without_frame(framed).shape[1] - 80) <= 6
    blank = np.full((40, 50, 3), 255, np.uint8)
    assert without_frame(blank).shape == blank.shape


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_laid_out_most_alike(kind: str) -> None:
    """Among forty other pictures, the copy is one of the nearest five, as many as are looked at."""
    ids = np.arange(1, 42)
    layouts = np.stack([layout(read_rgb(encoded(scene(int(seed))))) for seed in ids])
    copy = layout(read_rgb(encoded(COPIES[kind](scene(5)))))
    nearest = Nearest(np.array([99]), copy[None], 5)
    nearest.show(ids, layouts)
    assert (5, 99) in set(nearest.pairs())


def test_nearest_neighbours_are_exact_however_they_are_shown() -> None:
    """What is shown in pieces gives what comparing all with all gives, and nobody is its own neighbour."""
    rng = np.random.default_rng(1)
    ids = np.arange(10, 70)
    layouts = rng.integers(-100, 100, (60, LENGTH)).astype(np.int8)
    nearest = Nearest(ids[:20], layouts[:20], 3)
    for start in range(0, 60, 7):
        nearest.show(ids[start : start + 7], layouts[start : start + 7])
    expected = set()
    for half in (0, 1):
        vectors = unit(layouts)[:, half]
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -np.inf)
        for row in range(20):
            for other in np.argsort(-likeness[row])[:3]:
                expected.add((min(ids[row], ids[other]), max(ids[row], ids[other])))
    assert set(nearest.pairs()) == expected
