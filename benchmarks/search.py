"""All pairs of 64-bit hashes: ours at growing numbers, beside a loop over imagehash's objects where that ends."""

import time
from collections.abc import Iterator
from itertools import combinations

import imagehash
import numpy as np

from curate.dedup.hamming import Hashes, pairs_within

_LOOPED = 2_000
_NUMBERS = (10_000, 100_000, 1_000_000)
_DISTANCES = (6, 10)


def run() -> Iterator[str]:
    """Yield a line a search. Every tenth hash is a near copy of another, as in a crawled set."""
    hashes = _hashes(_LOOPED)
    objects = [imagehash.ImageHash(np.unpackbits(row.view(np.uint8)).reshape(8, 8) > 0) for row in hashes]
    started = time.perf_counter()
    found = sum(one - other <= _DISTANCES[0] for one, other in combinations(objects, 2))
    yield f"imagehash's loop: {_LOOPED:,} hashes, distance {_DISTANCES[0]}: {_since(started)}, {found:,} pairs"
    for number in (_LOOPED, *_NUMBERS):
        hashes = _hashes(number)
        for distance in _DISTANCES:
            started = time.perf_counter()
            found = sum(len(block.low) for block in pairs_within(hashes, distance))
            yield f"curate: {number:,} hashes, distance {distance}: {_since(started)}, {found:,} pairs"


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.2f} s"


def _hashes(number: int) -> Hashes:
    rng = np.random.default_rng(0)
    found = rng.integers(0, 2**64, number, dtype=np.uint64)
    copies = rng.integers(0, number, number // 10)
    flips = np.uint64(1) << rng.integers(0, 64, (3, len(copies)), dtype=np.uint64)
    found[rng.integers(0, number, len(copies))] = found[copies] ^ flips[0] ^ flips[1] ^ flips[2]
    return found
