"""What ingest makes of bytes: every row of the list of image faults."""

import io
import struct
import zlib
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from curate.config import IngestSettings
from curate.ingest.facts import Facts, examine, header_refusal, sharpness, sniff
from db.reasons import Reason, Refusal
from tests.pictures import encoded, jpeg, picture
from trainer.pixels import to_rgb

LIMITS = IngestSettings()


def reason(data: bytes, limits: IngestSettings = LIMITS) -> Reason:
    """Why `data` is not taken."""
    found = examine(data, limits)
    assert isinstance(found, Refusal), found
    return found.reason


@pytest.mark.parametrize(
    ("image_format", "expected"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("GIF", "GIF"), ("BMP", "BMP"), ("AVIF", "AVIF")],
)
def test_takes_what_browsers_show(image_format: str, expected: str) -> None:
    """Every format that is stored gives its facts."""
    data = encoded(picture(1), image_format)
    found = examine(data, LIMITS)
    assert isinstance(found, Facts)
    assert (found.format, found.width, found.height, found.bytes) == (expected, 120, 90, len(data))


def test_hash_is_the_one_of_imagehash() -> None:
    """The stored integer is what imagehash computes from the opened file, as signed 64 bits."""
    for seed in range(20):
        data = jpeg(seed)
        found = examine(data, LIMITS)
        assert isinstance(found, Facts)
        with Image.open(io.BytesIO(data)) as image:
            assert f"{found.phash & (2**64 - 1):016x}" == str(imagehash.phash(image))
        assert -(2**63) <= found.phash < 2**63


@pytest.mark.parametrize("size", [(1024, 768), (768, 1024), (1500, 1000), (701, 503), (400, 1600), (2600, 300)])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_hash_of_any_shape_is_the_one_of_the_upright_picture(size: tuple[int, int], orientation: int) -> None:
    """Sharp detail in pictures wide and tall, turned and mirrored, is hashed as imagehash hashes it when upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), exif=exif)
    found = examine(data, LIMITS)
    assert isinstance(found, Facts)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    assert (found.width, found.height) == upright.size
    assert f"{found.phash & (2**64 - 1):016x}" == str(imagehash.phash(upright))


@pytest.mark.parametrize("size", [(256, 256), (300, 700), (1000, 700), (1024, 768), (1280, 853), (2000, 3000)])
def test_sharpness_is_near_that_of_exact_boxes(size: tuple[int, int]) -> None:
    """The short cut through whole-numbered boxes moves it by few per cent."""
    gray = picture(1, (600, 450)).convert("L").resize(size)
    noise = np.random.default_rng(0).normal(0, 8, size[::-1])
    gray = Image.fromarray((np.asarray(gray) + noise).clip(0, 255).astype(np.uint8))
    small = np.asarray(gray.resize((256, 256), Image.Resampling.BOX)).astype(float)
    laplacian = 4 * small[1:-1, 1:-1] - small[:-2, 1:-1] - small[2:, 1:-1] - small[1:-1, :-2] - small[1:-1, 2:]
    assert sharpness(gray) == pytest.approx(np.abs(laplacian).mean(), rel=0.1)


def test_sharpness_is_the_mean_of_the_laplacian() -> None:
    """Of a picture that is 256 x 256 already, to the last digit: values on record are compared with new ones."""
    gray = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    wide = gray.astype(np.int64)
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    assert sharpness(Image.fromarray(gray)) == np.abs(4 * wide[1:-1, 1:-1] - around).mean()


def test_a_blurred_copy_is_less_sharp() -> None:
    """Blowing a picture up from a smaller one lowers its sharpness."""
    rng = np.random.default_rng(0)
    sharp = Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8))
    blurred = sharp.resize((100, 100)).resize((300, 300))
    first, second = examine(encoded(sharp, "PNG"), LIMITS), examine(encoded(blurred, "PNG"), LIMITS)
    assert isinstance(first, Facts)
    assert isinstance(second, Facts)
    assert first.sharpness > 2 * second.sharpness > 0


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_cut_off_file_is_corrupt(image_format: str, part: float) -> None:
    """A file that ends early is refused, at whichever point it ends."""
    data = encoded(picture(1, (400, 300)), image_format)
    assert reason(data[: int(len(data) * part)]) is Reason.CORRUPT


def test_a_jpeg_without_end_marker_is_corrupt() -> None:
    """The last two bytes of a JPEG count."""
    assert reason(jpeg(1, (640, 480))[:-2]) is Reason.CORRUPT


def test_a_png_without_end_is_corrupt() -> None:
    """A PNG whose rows are all there but whose end is not is refused, though Pillow takes it."""
    assert reason(encoded(picture(1), "PNG")[:-12]) is Reason.CORRUPT


def test_a_jpeg_with_a_broken_header_is_corrupt() -> None:
    """A header that cannot be read is damage, not a fault of the decoder's."""
    assert reason(jpeg(1)[:20]) is Reason.CORRUPT
    assert reason(jpeg(1)[:18] + bytes(40)) is Reason.CORRUPT


def test_several_pictures_in_a_jpeg_are_a_jpeg() -> None:
    """MPO, as cameras with two lenses write it, is a JPEG with more behind it: the first picture counts."""
    found = examine(encoded(picture(1), "MPO", save_all=True, append_images=[picture(2)]), LIMITS)
    assert isinstance(found, Facts)
    assert found.format == "JPEG"


def test_no_bytes_are_corrupt() -> None:
    """An empty file is refused."""
    assert reason(b"") is Reason.CORRUPT


def test_a_flipped_bit_in_a_png_is_corrupt() -> None:
    """A PNG whose checksum fails is refused."""
    data = bytearray(encoded(picture(1), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert reason(bytes(data)) is Reason.CORRUPT


def giant_png(side: int) -> bytes:
    """A PNG of `side` squared gray pixels, a few kilobytes long."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    body = b"".join(packer.compress(row) for _ in range(min(side, 2000))) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 50_000])
def test_a_giant_is_refused_by_its_header(side: int) -> None:
    """A picture of too many pixels is refused before a pixel of it is decoded."""
    data = giant_png(side)
    assert reason(data) is Reason.TOO_LARGE
    refusal = header_refusal(data, LIMITS)
    assert refusal is not None
    assert refusal.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (15, 500)])
def test_a_sliver_is_too_small(size: tuple[int, int]) -> None:
    """A picture whose shorter side is under the limit is refused."""
    assert reason(encoded(Image.new("RGB", size), "PNG")) is Reason.TOO_SMALL


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"#!/bin/sh\necho hello\n",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        bytes(100),
    ],
)
def test_what_is_no_image_is_called_so(data: bytes) -> None:
    """Whatever a server calls it, the bytes decide."""
    assert reason(data) is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize(
    "data",
    [encoded(picture(1), "TIFF"), encoded(picture(1), "ICO"), b"%PDF-1.7\n", b"\x00\x00\x00\x18ftypheic" + bytes(40)],
)
def test_images_that_no_browser_shows_are_named(data: bytes) -> None:
    """A format that cannot be shown to people is refused as that, not as corrupt."""
    assert reason(data) is Reason.UNSUPPORTED_FORMAT


def test_a_jpeg_that_is_also_html_is_a_jpeg() -> None:
    """HTML in a comment does not keep a whole JPEG from being one."""
    data = encoded(picture(1), comment=b"<script>alert(1)</script>")
    assert sniff(data) == "JPEG"
    assert isinstance(examine(data, LIMITS), Facts)


def test_a_decoder_that_raises_anything_costs_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that no decoder should raise is a refusal like any other."""

    def explode(*_: Any) -> None:  # noqa: ANN401 - whatever it is called with
        raise RuntimeError("odd")

    monkeypatch.setattr("curate.ingest.facts.to_rgb", explode)
    assert reason(jpeg(1)) is Reason.DECODER_ERROR


def rgb_of(data: bytes) -> np.ndarray[Any, Any]:
    """Pixels as every stage sees them."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(to_rgb(image)).astype(int)


def test_transparency_is_laid_over_white() -> None:
    """Transparent pixels become white, half-transparent ones half white, in every mode that has them."""
    rgba = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    rgba.putpixel((0, 0), (255, 0, 0, 0))
    rgba.putpixel((1, 0), (0, 0, 0, 128))
    pixels = rgb_of(encoded(rgba, "PNG"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert np.abs(pixels[0, 1] - 127).max() <= 1
    assert pixels[5, 5].tolist() == [255, 0, 0]
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 255, 0, 255, 0])
    palette.putpixel((0, 0), 0)
    pixels = rgb_of(encoded(palette, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[5, 5].tolist() == [0, 255, 0]
    gray = rgb_of(encoded(Image.new("LA", (20, 20), (0, 0)), "PNG"))
    assert gray.min() == 255


def test_16_bit_gray_is_scaled() -> None:
    """16-bit gray keeps its brightness; clipping it to 8 bits would make it all white."""
    pixels = rgb_of(encoded(Image.fromarray(np.full((20, 20), 257 * 100, np.uint16)), "PNG"))
    assert set(pixels.flat) == {100}


def test_cmyk_becomes_rgb() -> None:
    """CMYK, as Photoshop writes it, comes out with its colours, not inverted."""
    pixels = rgb_of(encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG"))
    red = pixels[10, 10]
    assert red[0] > 200
    assert red[1] < 60
    assert red[2] < 60


def test_an_animation_gives_its_first_frame() -> None:
    """Of several frames the first counts."""
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    pixels = rgb_of(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert pixels[5, 5].tolist() == [255, 0, 0]


def test_exif_orientation_is_applied() -> None:
    """A picture held sideways is turned upright, and its facts are those of the upright picture."""
    upright = picture(3, (120, 90))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    sideways = encoded(upright.rotate(90, expand=True), quality=95, exif=exif)
    found, plain = examine(sideways, LIMITS), examine(encoded(upright, quality=95), LIMITS)
    assert isinstance(found, Facts)
    assert isinstance(plain, Facts)
    assert (found.width, found.height) == (120, 90)
    assert (found.phash ^ plain.phash).bit_count() <= 4


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    """A picture with broken metadata is taken as it lies."""
    data = encoded(picture(3), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert isinstance(examine(data, LIMITS), Facts)


def test_a_turned_picture_whose_exif_cannot_be_written_again_is_turned() -> None:
    """What says how it lies was readable; that the rest of the block is not does not matter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encoded(picture(3, (120, 90)), exif=exif))) as image:
        image.getexif()[0x0100] = "not a number"
        assert to_rgb(image).size == (90, 120)


def test_pixels_outlive_the_file_they_came_from() -> None:
    """What `to_rgb` gives may be the opened image itself, and is whole after it was closed."""
    with Image.open(io.BytesIO(jpeg(1))) as image:
        rgb = to_rgb(image)
    assert np.asarray(rgb).shape == (90, 120, 3)
