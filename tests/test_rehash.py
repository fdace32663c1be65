"""The quick hash is that of the full decode, to within a few bits."""

import io
import warnings
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image

from curate.demo.draw import CLASSES, draw
from curate.ingest.facts import phash
from curate.ingest.rehash import TOLERANCE, bits_apart, confirmed_phash, quick_phash
from tests.pictures import encoded, jpeg, picture
from trainer.pixels import to_rgb

SIZES = [(1024, 768), (299, 299), (601, 399), (97, 193), (40, 30), (1537, 193)]


def full(data: bytes) -> int:
    """The hash that ingest stores."""
    return phash(to_rgb(Image.open(io.BytesIO(data))))


@lru_cache
def guitars(number: int) -> Image.Image:
    return draw(CLASSES[number % len(CLASSES)], number, 600)


def drawn(number: int, size: tuple[int, int]) -> Image.Image:
    """A guitar with as much detail as a photograph has."""
    guitar = guitars(number).resize(size)
    grain = np.random.default_rng(number).normal(128, 24, size[::-1]).clip(0, 255).astype(np.uint8)
    return Image.blend(guitar, Image.fromarray(grain).convert("RGB"), 0.3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_of_any_size_hashes_as_in_full(size: tuple[int, int], subsampling: int) -> None:
    """Also where its sides are no multiples of the scale it is decoded at."""
    for number in range(0, len(CLASSES), 2):
        data = encoded(drawn(number, size), quality=85, subsampling=subsampling, progressive=bool(number % 4))
        assert bits_apart(quick_phash(data), full(data)) <= TOLERANCE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_hashed_upright(orientation: int) -> None:
    """Every orientation that EXIF knows."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(drawn(3, (1021, 763)), quality=85, exif=exif.tobytes())
    assert bits_apart(quick_phash(data), full(data)) <= TOLERANCE


def test_a_damaged_exif_block_is_no_matter() -> None:
    """The picture is then taken as it lies, as everywhere."""
    data = encoded(drawn(3, (800, 600)), quality=85, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x00")
    with warnings.catch_warnings(action="ignore"):
        assert bits_apart(quick_phash(data), full(data)) <= TOLERANCE


@pytest.mark.parametrize(
    ("mode", "image_format"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "GIF"), ("RGB", "WEBP")]
)
def test_other_modes_and_formats_hash_the_same(mode: str, image_format: str) -> None:
    """Gray and CMYK JPEGs come near; what is decoded in full anyway is the same to the bit."""
    data = encoded(picture(4, (900, 700)).convert(mode), image_format)
    assert bits_apart(quick_phash(data), full(data)) <= (TOLERANCE if image_format == "JPEG" else 0)


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_what_is_stored_of_a_blank_page_stays(colour: int) -> None:
    """Its hash hangs on rounding: the full decode then has the last word."""
    data = encoded(Image.new("RGB", (1000, 701), (colour, colour, colour)))
    assert confirmed_phash(data, full(data)) == full(data)


def test_a_wrong_hash_is_replaced_by_that_of_the_full_decode() -> None:
    """A few bits are let pass, since the quick decode may be off by as many."""
    data = jpeg(2, (1024, 768))
    true = full(data)
    assert confirmed_phash(data, true ^ 0b11) == true ^ 0b11
    assert confirmed_phash(data, ~true) == true


def test_a_broken_file_raises() -> None:
    """The decoder's own error."""
    with pytest.raises(OSError, match="truncated"):
        quick_phash(jpeg(1, (800, 600))[:4000])


def test_copies_are_recalled_as_by_the_full_hash() -> None:
    """Resized and re-encoded copies stay within the distance at which near-duplicates are proposed."""
    for number in range(8):
        big = drawn(number, (1024, 768))
        stored = quick_phash(encoded(big, quality=92))
        for copy in (encoded(big, quality=60), encoded(big.resize((500, 375)), quality=85)):
            assert bits_apart(stored, quick_phash(copy)) <= 6
