"""All pairs of 64-bit hashes within a Hamming distance: ours at growing numbers, and beside what the field uses.

Uniform hashes have 5 % near copies planted among them. Clustered ones are the pHashes of photographs in the folder that
`CURATE_BENCH_PHOTOGRAPHS` names, or else of a few random centres, drawn again and again with up to ten bits flipped.
`CURATE_BENCH_HASHES` is the largest number; clustered ones stop at a million, which have 70 million pairs.
Each figure of growth comes from a process of its own, as `python -m benchmarks.search KIND NUMBER DISTANCE NEW`.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import combinations
from pathlib import Path
from statistics import median

import imagehash
import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmarks.timing import absent, alternated, figure, ratio
from curate.dedup.hamming import pairs_within
from curate.dedup.runs import Hashes
from curate.ingest.facts import phash
from trainer.pixels import to_rgb

_MOST = int(os.environ.get("CURATE_BENCH_HASHES", "10000000"))
_NUMBERS = {"uniform": (10_000, 100_000, 1_000_000, 10_000_000), "clustered": (10_000, 100_000, 1_000_000)}
_MOST_AT = {6: 10_000_000, 10: 1_000_000}
_ADDED = 1000
_FLIPS = 10
_CENTRES = 2000
_PLANTED = 0.05

Search = Callable[[Hashes, int], int]


def run() -> Iterator[str]:
    """Yield a figure a search, then a figure a rival."""
    with tempfile.TemporaryDirectory() as name:
        centres = Path(name) / "centres.npy"
        np.save(centres, _centres())
        for kind, numbers in _NUMBERS.items():
            for number in numbers:
                for distance, most in _MOST_AT.items():
                    # Within 10 bits nearly all of a cluster are pairs: that is a search for its own output.
                    if number <= min(_MOST, most) and (kind, distance) != ("clustered", 10):
                        yield _apart(kind, number, distance, number, centres)
            yield _apart(kind, 1_000_000 + _ADDED, 6, _ADDED, centres)
    yield from _rivals()


def _apart(kind: str, number: int, distance: int, new: int, centres: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.search", kind, str(number), str(distance), str(new), str(centres)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - ourselves


def _one(kind: str, number: int, distance: int, new: int, centres: Hashes) -> str:
    """Search once in this process, and give a figure with its peak memory, the given hashes included."""
    hashes = _uniform(number) if kind == "uniform" else _clustered(number, centres)
    flags = None if new == number else np.arange(number) >= number - new
    before, began, worked = _peak(), time.perf_counter(), time.process_time()
    pairs = largest = 0
    for block in pairs_within(hashes, distance, flags):
        pairs += len(block.low)
        largest = max(largest, len(block.low))
    took = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - worked}
    size = {"pairs": pairs, "largest_block": largest, "mb_before": before, "mb_peak": _peak()}
    return figure("all pairs", kind=kind, hashes=number, new=new, distance=distance, **took, **size)


def _peak() -> int:
    # What `getrusage` says is at least the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def _uniform(number: int) -> Hashes:
    rng = np.random.default_rng(0)
    found = rng.integers(0, 2**64, number, dtype=np.uint64)
    copies = rng.permutation(number)[: int(number * _PLANTED)]
    found[copies] = _flipped(found[rng.integers(0, number, len(copies))], rng)
    return found


def _clustered(number: int, centres: Hashes) -> Hashes:
    rng = np.random.default_rng(0)
    return _flipped(centres[rng.integers(0, len(centres), number)], rng)


def _flipped(hashes: Hashes, rng: np.random.Generator) -> Hashes:
    """Flip none to ten bits of each."""
    flips = rng.integers(0, _FLIPS + 1, len(hashes))
    for flip in range(_FLIPS):
        bits = np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
        hashes ^= np.where(flip < flips, bits, np.uint64(0))
    return hashes


def _centres() -> Hashes:
    folder = os.environ.get("CURATE_BENCH_PHOTOGRAPHS")
    if not folder:
        return np.random.default_rng(1).integers(0, 2**64, _CENTRES, dtype=np.uint64)
    return np.array([value for path in sorted(Path(folder).rglob("*")) for value in _hash(path)], np.int64).view("u8")


def _hash(path: Path) -> Iterator[int]:
    if path.is_file():
        try:
            with Image.open(path) as image:
                yield phash(to_rgb(image))
        except UnidentifiedImageError:
            return


def _rivals() -> Iterator[str]:
    """Compare each with ours, alternated, at a number of hashes where it ends within seconds; pairs must be as many."""
    rivals: tuple[tuple[str, str, int, Search], ...] = (
        ("imagehash, a loop over its objects", "imagehash", 2_000, _by_imagehash),
        ("imagededup, brute force (its default)", "imagededup", 5_000, partial(_by_imagededup, "brute_force_cython")),
        ("imagededup, BK-tree", "imagededup", 1_000, partial(_by_imagededup, "bktree")),
        ("faiss IndexBinaryFlat, range search", "faiss", 100_000, _by_faiss),
    )
    for name, module, number, search in rivals:
        missing = absent(module)
        if missing:
            yield missing
            continue
        hashes = _uniform(number)
        found: dict[str, int] = {}
        calls = {
            way: partial(_kept, found, way, partial(function, hashes, 6))
            for way, function in (("curate", _by_curate), (name, search))
        }
        took = alternated(calls)
        if len(set(found.values())) > 1:
            raise SystemExit(f"not the same pairs: {found}")
        seconds = {"seconds": median(took[name]), "curate_seconds": median(took["curate"])}
        yield figure(name, hashes=number, distance=6, **seconds, times_as_long=ratio(took, name, "curate"))


def _kept(found: dict[str, int], way: str, search: Callable[[], int]) -> None:
    found[way] = search()


def _by_curate(hashes: Hashes, distance: int) -> int:
    return sum(len(block.low) for block in pairs_within(hashes, distance))


def _by_imagehash(hashes: Hashes, distance: int) -> int:
    objects = [imagehash.hex_to_hash(f"{value:016x}") for value in hashes.tolist()]
    return sum(one - other <= distance for one, other in combinations(objects, 2))


def _by_imagededup(method: str, hashes: Hashes, distance: int) -> int:
    encodings = {str(number): f"{value:016x}" for number, value in enumerate(hashes.tolist())}
    hasher = import_module("imagededup.methods").PHash(verbose=False)
    found = hasher.find_duplicates(
        encoding_map=encodings, max_distance_threshold=distance, search_method=method, num_dist_workers=0
    )
    return sum(map(len, found.values())) // 2


def _by_faiss(hashes: Hashes, distance: int) -> int:
    vectors = hashes.view(np.uint8).reshape(-1, 8)
    index = import_module("faiss").IndexBinaryFlat(64)
    index.add(vectors)
    limits, _, _ = index.range_search(vectors, distance + 1)  # it gives what is nearer than the radius
    return (int(limits[-1]) - len(hashes)) // 2


if __name__ == "__main__":
    print(_one(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), np.load(sys.argv[5])))
