"""All images of a dataset decoded once, as one array of bytes: epochs then wait for no decoder.

A cache file holds squares of one side, one row an image, beside a list of the images' hashes. A later split, which
shares most of its images, takes their rows over and decodes only what is new.
"""

import contextlib
import io
import json
import math
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.errors import ManifestError
from trainer.files import cannot_write, digest, sweep, temporary, write_json
from trainer.manifest import Item
from trainer.pixels import to_rgb
from trainer.watch import SILENT, Watcher

Pixels = NDArray[np.uint8]
"""(N, side, side, 3), RGB."""

_KEPT = 2
"""Cache files kept for one side: the present split's, and the one before it to take rows from."""


def square(data: bytes, side: int) -> Pixels:
    """Decode an image and squeeze all of it into a square, (side, side, 3). Raises what the decoder raises.

    Squeezed, not cropped: a guitar fills its picture from edge to edge, and a centre crop would lose the headstock.
    """
    return squeeze(decode(data, side), side)


def decode(data: bytes, side: int) -> Image.Image:
    """Decode an image, upright and RGB, for a square of this side. Raises what the decoder raises."""
    with Image.open(io.BytesIO(data)) as image:
        # Huge JPEGs are decoded at a fraction of their size, at least twice the side so that it does not show.
        image.draft("RGB", (2 * side, 2 * side))
        return to_rgb(image)


def squeeze(image: Image.Image, side: int) -> Pixels:
    """Bring all of an RGB image into a square, (side, side, 3)."""
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))


def load(items: Sequence[Item], side: int, folder: Path, watcher: Watcher = SILENT) -> Pixels:
    """Give the squares of `items`, in their order, from `folder` or decoded now.

    Raises ManifestError naming an image that cannot be read, TrainerError when there is no room.
    """
    name = digest("\n".join(item.sha256 for item in items).encode())[:16]
    path = folder / f"{side}-{name}.u8"
    found = _opened(path, (len(items), side, side, 3))
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            found = _build(path, items, side, watcher)
        except OSError as error:
            raise cannot_write(path, error) from error
        _tidy(folder, side)
    with contextlib.suppress(FileNotFoundError):  # another process may tidy it away: what is open stays readable
        os.utime(path)
    return found


def _opened(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    with contextlib.suppress(FileNotFoundError):
        path.with_suffix(".json").stat()  # a cache without its list does not exist
        return np.memmap(path, np.uint8, "r", shape=shape)
    return None


def discard(folder: Path, hashes: Collection[str]) -> None:
    """Remove every cache that holds one of these images, or that does not say what it holds."""
    for path in folder.glob("*.u8"):
        try:
            held = not set(json.loads(path.with_suffix(".json").read_text())).isdisjoint(hashes)
        except (OSError, ValueError):
            held = True
        if held:
            _remove(path)


def _build(path: Path, items: Sequence[Item], side: int, watcher: Watcher) -> Pixels:
    unfinished = temporary(path.parent)
    try:
        shape = (len(items), side, side, 3)
        with unfinished.open("r+b") as file:
            # Room first: writing to a mapped file that the disk cannot hold is a SIGBUS, not an error.
            os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape)))
        pixels = np.memmap(unfinished, np.uint8, "r+", shape=shape)
        missing = _take_over(pixels, items, side, path.parent)
        watcher.begin("decoding", len(missing))

        def decode(row: int) -> None:
            pixels[row] = _decode(items[row], side)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(decode, missing):
                watcher.advance(1)
        pixels.flush()
        found = np.memmap(unfinished, np.uint8, "r", shape=shape)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    # The list comes last: a cache without it does not exist.
    write_json(path.with_suffix(".json"), [item.sha256 for item in items])
    return found


def _decode(item: Item, side: int) -> Pixels:
    try:
        return square(item.path.read_bytes(), side)
    except OSError as error:
        raise ManifestError(f"image {item.id} cannot be read ({error}); run `curate doctor`") from error


def _take_over(pixels: Pixels, items: Sequence[Item], side: int, folder: Path) -> list[int]:
    """Copy rows that earlier caches hold; give the rows that none does."""
    missing = {item.sha256: row for row, item in enumerate(items)}
    for index in folder.glob(f"{side}-*.json"):
        with contextlib.suppress(OSError, ValueError):
            hashes = json.loads(index.read_text())
            earlier = np.memmap(index.with_suffix(".u8"), np.uint8, "r", shape=(len(hashes), side, side, 3))
            for position, sha256 in enumerate(hashes):
                if sha256 in missing:
                    pixels[missing.pop(sha256)] = earlier[position]
    return sorted(missing.values())


def _tidy(folder: Path, side: int) -> None:
    caches = sorted(folder.glob(f"{side}-*.u8"), key=_last_used, reverse=True)
    for path in caches[_KEPT:]:
        _remove(path)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process tidied first
        return -math.inf


def _remove(path: Path) -> None:
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
