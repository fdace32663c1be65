"""Hashing anew what is already trusted: `quick_phash` beside the loops that others write, in one and two processes.

Pictures are drawn with the grain of photographs: 1024 x 768, about 175 kB. Fidelity is told beside the full decode, on
these and on the photographs of a folder that `CURATE_BENCH_PHOTOGRAPHS` names; so is the recall of altered copies.
"""

import io
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from benchmarks.timing import absent, alternated, figure, ratio
from curate.demo.draw import CLASSES, draw
from curate.ingest.facts import phash
from curate.ingest.rehash import bits_apart, quick_phash
from trainer.pixels import to_rgb

_IMAGES = 80
_SIZE = (1024, 768)
_GRAIN = 0.2
_QUALITY = 85
_ROUNDS = 7
_PHOTOGRAPHS = 500
_NEAR = 6
_OURS = "curate, quick_phash"
_LOOP = "imagehash, phash of Image.open"


def run() -> Iterator[str]:
    """Yield what each way does a second, then how near the quick hash is to the full one."""
    with tempfile.TemporaryDirectory() as name:
        files = [_drawn(Path(name), number) for number in range(_IMAGES)]
        for module in ("imagededup", "pdqhash"):
            missing = absent(module)
            if missing:
                yield missing
        for processes in (1, 2):
            yield from _speed(files, processes)
        photographs = _photographs()
        for kind, paths in (("drawn, 1024 x 768", files), ("photographs", photographs)):
            if paths:
                yield _fidelity(kind, [path.read_bytes() for path in paths])
                yield _recall(kind, [path.read_bytes() for path in paths])


def _ways() -> dict[str, Callable[[Path], object]]:
    ways: dict[str, Callable[[Path], object]] = {_OURS: _quick, _LOOP: _loop}
    if not absent("imagededup"):
        ways["imagededup, PHash.encode_image"] = _by_imagededup
    if not absent("pdqhash"):
        ways["pdqhash, compute"] = _by_pdqhash
    return ways


def _speed(files: Sequence[Path], processes: int) -> Iterator[str]:
    with ProcessPoolExecutor(processes) as pool:
        calls = {name: partial(_all, pool, way, list(files) * processes) for name, way in _ways().items()}
        for call in calls.values():
            call()  # loads what it needs
        took = alternated(calls, _ROUNDS)
    size = sum(path.stat().st_size for path in files) // len(files) // 1000
    for name in took:
        speed = len(files) * processes / median(took[name])
        times = ratio(took, _LOOP, name)
        yield figure(name, processes=processes, kb=size, images_per_second=speed, times_imagehash=times)


def _all(pool: ProcessPoolExecutor, way: Callable[[Path], object], files: Sequence[Path]) -> None:
    list(pool.map(way, files, chunksize=10))


def _quick(path: Path) -> int:
    return quick_phash(path.read_bytes())


def _loop(path: Path) -> str:
    return str(imagehash.phash(Image.open(path)))


def _by_imagededup(path: Path) -> object:
    return _hasher().encode_image(image_file=path)


@cache
def _hasher() -> Any:  # noqa: ANN401 - it ships no types
    return import_module("imagededup.methods").PHash(verbose=False)


def _by_pdqhash(path: Path) -> object:
    return len(import_module("pdqhash").compute(np.asarray(Image.open(path).convert("RGB")))[0])


def _fidelity(kind: str, files: Sequence[bytes]) -> str:
    off = Counter(bits_apart(quick_phash(data), _full(data)) for data in files)
    return figure("off the full decode", of=kind, images=len(files), identical=off[0] / len(files), most_bits=max(off))


def _recall(kind: str, files: Sequence[bytes]) -> str:
    """How many resized and re-encoded copies lie within 6 bits of their original, by the quick and the full hash."""
    chance = random.Random(1)  # noqa: S311 - no secret
    pairs = [(data, _altered(data, chance)) for data in files]
    shares = {
        name: sum(bits_apart(way(a), way(b)) <= _NEAR for a, b in pairs) / len(pairs)
        for name, way in (("quick", quick_phash), ("full", _full))
    }
    return figure("recall of altered copies", of=kind, copies=len(pairs), distance=_NEAR, **shares)


def _altered(data: bytes, chance: random.Random) -> bytes:
    """Resize to between 0.4 and 1.5 times, and encode anew."""
    image = to_rgb(Image.open(io.BytesIO(data)))
    factor = chance.uniform(0.4, 1.5)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=chance.randint(30, 95))
    return out.getvalue()


def _full(data: bytes) -> int:
    return phash(to_rgb(Image.open(io.BytesIO(data))))


def _drawn(folder: Path, number: int) -> Path:
    path = folder / f"{number:03d}.jpg"
    grain = Image.effect_noise(_SIZE, 24).convert("RGB")
    guitar = draw(CLASSES[number % len(CLASSES)], number, _SIZE[0]).resize(_SIZE)
    Image.blend(guitar, grain, _GRAIN).save(path, quality=_QUALITY)
    return path


def _photographs() -> list[Path]:
    folder = os.environ.get("CURATE_BENCH_PHOTOGRAPHS")
    paths = sorted(Path(folder).rglob("*.jp*g")) if folder else []
    return paths[:: max(1, len(paths) // _PHOTOGRAPHS)]
