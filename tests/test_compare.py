"""The look at two pictures: every kind of copy is known, and what only looks alike is not."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from curate.dedup.compare import Limits, compare
from curate.dedup.layout import PARTS, layout, units, without_frame
from curate.dedup.nearest import Nearest
from curate.dedup.picture import look_at, read_rgb
from curate.dedup.proposals import Proposals
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
        draw.text((20, y), "guitars.example", fill=(255, 255, 255, 150), font=ImageFont.load_default(size=28))
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
    assert not compare(smooth, again, Limits(likeness=1.0, difference=0.0)).same
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
    nearest = Nearest(np.array([99]), copy[None], PARTS, 5)
    nearest.show(ids, layouts, unsearched(len(ids)))
    assert [5, 99] in nearest.pairs().tolist()


def unsearched(count: int) -> NDArray[np.float32]:
    """The reach of images that look for their own neighbours in the same search."""
    return np.full((count, len(PARTS)), np.inf, np.float32)


def expected_pairs(ids: NDArray[np.int64], layouts: NDArray[np.int8], count: int) -> set[tuple[int, int]]:
    """Every image with its `count` nearest by each part, the slow way."""
    found = set()
    for vectors in units(layouts, PARTS):
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -np.inf)
        for row, own in enumerate(ids.tolist()):
            near = ids[np.argsort(-likeness[row])[:count]].tolist()
            found |= {(min(own, other), max(own, other)) for other in near}
    return found


def random_layouts(count: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Ids and layouts of no pictures."""
    rng = np.random.default_rng(1)
    return np.arange(10, 10 + count), rng.integers(-100, 100, (count, sum(PARTS))).astype(np.int8)


def test_nearest_neighbours_are_exact_however_they_are_shown() -> None:
    """What is shown in pieces gives what comparing all with all gives, and nobody is its own neighbour."""
    ids, layouts = random_layouts(60)
    nearest = Nearest(ids, layouts, PARTS, 3)
    for start in range(0, 60, 7):
        rows = slice(start, start + 7)
        nearest.show(ids[rows], layouts[rows], unsearched(len(ids[rows])))
    assert set(map(tuple, nearest.pairs().tolist())) == expected_pairs(ids, layouts, 3)


def test_adding_images_gives_every_pair_that_one_search_gives() -> None:
    """An old image that has a new one among its nearest is paired with it, though only the new one looks."""
    ids, layouts = random_layouts(80)
    first = Nearest(ids[:50], layouts[:50], PARTS, 3)
    first.show(ids[:50], layouts[:50], unsearched(50))
    later = Nearest(ids[50:], layouts[50:], PARTS, 3)
    later.show(ids, layouts, np.concatenate([first.reach(), unsearched(30)]))
    in_parts = set(map(tuple, np.concatenate([first.pairs(), later.pairs()]).tolist()))
    assert in_parts >= expected_pairs(ids, layouts, 3)


def test_only_the_nearest_by_hash_are_proposed_where_hashes_crowd() -> None:
    """Of 300 images with one hash each gets some others, the nearest first; pairs come in order, each once."""
    low, high = np.triu_indices(300, 1)
    distance = np.full(len(low), 4, np.uint8)
    close = (low == 0) & (high > 290)
    distance[close] = 1
    proposals = Proposals()
    proposals.add(low, high, distance)
    pairs = proposals.pairs()
    assert len(pairs) < 300 * 100
    assert pairs.tolist() == sorted(map(list, set(map(tuple, pairs.tolist()))))
    assert {(0, number) for number in range(291, 300)} <= set(map(tuple, pairs.tolist()))
    assert set(np.unique(pairs)) == set(range(300))


def test_a_mark_is_told_from_what_was_there() -> None:
    """The copy with words over it is the marked one, whichever comes first; of two clean copies neither is."""
    clean, marked = look_at(encoded(scene(1), quality=92)), look_at(encoded(watermarked(scene(1)), quality=92))
    assert (compare(clean, marked).marked, compare(marked, clean).marked) == (2, 1)
    again = look_at(encoded(scene(1).resize((240, 180)), quality=70))
    assert compare(clean, again).marked == 0
