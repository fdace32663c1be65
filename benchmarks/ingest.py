"""Decoding, checking and hashing in one pass, beside imagehash alone on a picture opened by Pillow."""

import io
from collections.abc import Iterator

import imagehash
from PIL import Image

from benchmarks.timing import alternated
from curate.config import IngestSettings
from curate.demo.draw import CLASSES, draw
from curate.ingest.facts import examine

_IMAGES = 60
_SIDE = 640


def run() -> Iterator[str]:
    """Yield a line a way of doing it."""
    files = [_file(number) for number in range(_IMAGES)]
    limits = IngestSettings()
    timed = alternated(
        {
            "curate: full decode, all checks, pHash": lambda: [examine(data, limits) for data in files],
            "imagehash: decode and pHash": lambda: [imagehash.phash(Image.open(io.BytesIO(data))) for data in files],
        }
    )
    for name, seconds in timed.items():
        yield f"{name}: {_IMAGES / seconds:.0f} images/s of {_SIDE} x {_SIDE} on one core"


def _file(number: int) -> bytes:
    out = io.BytesIO()
    draw(CLASSES[number % len(CLASSES)], number, _SIDE).save(out, "JPEG", quality=90)
    return out.getvalue()
