"""Decoding, checking and hashing in one pass, beside imagehash alone on a picture opened by Pillow."""

import io
import time
from collections.abc import Callable, Iterator
from statistics import median

import imagehash
from PIL import Image

from curate.config import IngestSettings
from curate.demo.draw import CLASSES, draw
from curate.ingest.decoders import Decoders
from curate.ingest.facts import examine

_IMAGES = 60
_TILES = (4, 3)
_TILE = 256
_REPEATS = 5


def run() -> Iterator[str]:
    """Yield a line a way of doing it, in processor time of this process: a shared machine is never idle."""
    files = [_file(number) for number in range(_IMAGES)]
    limits = IngestSettings()
    with Decoders(limits, 1) as decoders:
        # The first pass of each loads what it needs.
        took = _alternated(
            {
                "curate: full decode, all checks, pHash": lambda data: examine(data, limits),
                "imagehash: decode and pHash": lambda data: imagehash.phash(Image.open(io.BytesIO(data))),
                "curate: the parent's part, with a process that decodes": decoders.examine,
            },
            files,
        )
    size = sum(map(len, files)) // _IMAGES // 1000
    for name, milliseconds in took.items():
        yield f"{name}: {milliseconds:.2f} ms an image of {_TILES[0] * _TILE} x {_TILES[1] * _TILE}, {size} kB"
    ours, theirs, _ = took.values()
    yield f"imagehash's loop takes {theirs / ours:.2f} times as long as curate's"


def _alternated(calls: dict[str, Callable[[bytes], object]], files: list[bytes]) -> dict[str, float]:
    """Run each call over the files in turn, and give the median milliseconds an image that each took."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + _REPEATS):
        for name, call in calls.items():
            started = time.process_time()
            for data in files:
                call(data)
            took[name].append((time.process_time() - started) / len(files) * 1000)
    return {name: median(times[1:]) for name, times in took.items()}


def _file(number: int) -> bytes:
    """Draw a dozen guitars into one picture. At this quality it weighs what a photograph of its size does."""
    columns, rows = _TILES
    picture = Image.new("RGB", (columns * _TILE, rows * _TILE))
    for tile in range(columns * rows):
        place = tile % columns * _TILE, tile // columns * _TILE
        picture.paste(draw(CLASSES[(number + tile) % len(CLASSES)], number * columns * rows + tile, _TILE), place)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=75)
    return out.getvalue()
