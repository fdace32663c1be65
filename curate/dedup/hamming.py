"""All pairs of 64-bit hashes within a Hamming distance: exact, by sorting on chunks, in memory linear in their number.

Pigeonhole: cut 64 bits into d + k blocks. Two hashes that differ in at most d bits differ in at most d blocks, so they
agree in some k of them. For every choice of k blocks, sort by their bits alone, and compare what stands together
(the permuted sort of Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007).

Many hashes are first parted by one block, so that the rest of the work stays in the processor's cache.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

from curate.dedup.runs import RADIX_BITS, Found, Hashes, Indices, near_in_runs, near_in_tiles, order_by, runs

BITS = 64
BLOCK = 1 << 18
"""The most pairs in a block. A group of 100,000 equal hashes alone has 5 billion."""
_SORT_NS = 20.0
"""Nanoseconds to sort one hash once by 16 bits, to compare one pair in a run or by brute force, and of each pass as
such, as measured: only their ratios matter."""
_COMPARE_NS = 5.0
_TILE_NS = 0.9
_PASS_NS = 150_000.0
_MOST_PASSES = 3_100
_LEAST_PART = 1 << 14
"""Hashes are parted by one block first where the parts have this many at least: fewer take longer in calls."""
_MOST_HELD = 10_000
_SAMPLE = 50_000


@dataclass(frozen=True, slots=True)
class Pairs:
    """At most BLOCK pairs: `low` and `high` index the given hashes (low < high), `distance` counts differing bits."""

    low: Indices
    high: Indices
    distance: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Who carries each hash. Equal hashes are common (blank pages, re-encoded copies) and are searched for once."""

    hashes: Hashes
    """Each value once, ascending."""
    members: Indices
    """Indices of the given hashes, by value; of each value the new ones come first."""
    starts: Indices
    counts: Indices
    new: Indices
    """How many members of each value are new."""


def pairs_within(hashes: Hashes, distance: int, new: NDArray[np.bool_] | None = None) -> Iterator[Pairs]:
    """Yield every pair of `hashes` at most `distance` bits apart exactly once, block by block, in no order.

    With `new`, a flag for each hash, only pairs are given of which at least one is new.
    """
    if not len(hashes) or (new is not None and not new.any()):
        return
    carried = _sorted(hashes, new)
    yield from _equal_pairs(carried)
    if distance == 0:
        return
    fresh = np.flatnonzero(carried.new)
    count = len(carried.hashes)
    together, cost = _plan(carried.hashes, distance)
    if len(fresh) * count * _TILE_NS < cost:
        found = _with_few(carried.hashes, fresh, distance)
    else:
        blocks = _block_masks(distance + together)
        found = _sorted_by(carried.hashes, blocks, together, distance, ())
    for low, high, differing in _batches(found):
        yield from _expand(low, high, np.bitwise_count(differing), carried)


def _sorted(hashes: Hashes, new: NDArray[np.bool_] | None) -> _Sorted:
    if new is None:
        members = np.argsort(hashes, kind="stable")
    else:
        old_last = np.argsort(~new, kind="stable")
        members = old_last[np.argsort(hashes[old_last], kind="stable")]
    values = hashes[members]
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    counts = np.diff(starts, append=len(hashes))
    fresh = counts if new is None else np.add.reduceat(new[members], starts, dtype=np.int64)
    return _Sorted(values[starts], members, starts, counts, fresh)


def _equal_pairs(carried: _Sorted) -> Iterator[Pairs]:
    for groups in _ranges(np.flatnonzero((carried.counts > 1) & (carried.new > 0)), carried.new):
        # Each new member with all that stand behind it: the old come last, so that no two of them meet.
        starts, counts, new = carried.starts[groups], carried.counts[groups], carried.new[groups]
        behind = np.repeat(counts, new) - 1 - _counting(new)
        first = np.repeat(starts, new) + _counting(new)
        for which, step in _spread(behind):
            a, b = carried.members[first[which]], carried.members[first[which] + 1 + step]
            yield Pairs(np.minimum(a, b), np.maximum(a, b), np.zeros(len(a), np.uint8))


def _expand(low: Indices, high: Indices, bits: NDArray[np.uint8], carried: _Sorted) -> Iterator[Pairs]:
    """Turn pairs of distinct hashes into pairs of everything that carries them, one of them new."""
    old = carried.counts[low] - carried.new[low]
    new_with_all = carried.new[low], carried.counts[high], carried.starts[low]
    old_with_new = old, carried.new[high], carried.starts[low] + carried.new[low]
    for rows, columns, first in (new_with_all, old_with_new):
        for which, step in _spread(rows * columns):
            row, column = np.divmod(step, columns[which])
            a = carried.members[first[which] + row]
            b = carried.members[carried.starts[high[which]] + column]
            yield Pairs(np.minimum(a, b), np.maximum(a, b), bits[which])


def _spread(repeats: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Repeat each position as often as `repeats` says, with a step from 0 on, in blocks of at most BLOCK."""
    ends = np.cumsum(repeats)
    for begin in range(0, int(ends[-1]) if len(ends) else 0, BLOCK):
        end = min(begin + BLOCK, int(ends[-1]))
        some = slice(int(np.searchsorted(ends, begin, "right")), int(np.searchsorted(ends, end, "left")) + 1)
        starts = ends[some] - repeats[some]
        lengths = np.minimum(ends[some], end) - np.maximum(starts, begin)
        which = np.repeat(np.arange(some.start, some.stop), lengths)
        yield which, np.arange(begin, end) - np.repeat(starts, lengths)


def _ranges(positions: Indices, sizes: Indices) -> Iterator[Indices]:
    """Cut `positions` so that the sizes of each part add up to about BLOCK."""
    parts = np.cumsum(sizes[positions]) // BLOCK
    yield from np.split(positions, np.flatnonzero(np.diff(parts)) + 1)


def _counting(lengths: Indices) -> Indices:
    """Count from 0 up to each of `lengths`, one after the other."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _batches(found: Iterable[Found]) -> Iterator[Found]:
    """Put small finds together: most are of a few pairs, and the call costs more than they do."""
    held: list[Found] = []
    size = 0
    for one in found:
        held.append(one)
        size += len(one[0])
        if size >= BLOCK // 4 or len(held) >= _MOST_HELD:
            yield _joined(held)
            held, size = [], 0
    if held:
        yield _joined(held)


def _joined(held: Sequence[Found]) -> Found:
    low, high, differing = zip(*held, strict=True)
    return np.concatenate(low), np.concatenate(high), np.concatenate(differing)


def _sorted_by(
    hashes: Hashes, blocks: Hashes, together: int, distance: int, skipped: tuple[np.uint64, ...]
) -> Iterator[Found]:
    """Find pairs that agree in `together` of `blocks`, at the first such, and in none of `skipped`.

    A pair may agree in more blocks. It is found at the first ones alone, so that none comes twice.
    """
    if together == 1 or len(hashes) >> int(blocks[0]).bit_count() < _LEAST_PART:
        for chosen in combinations(range(len(blocks)), together):
            passed = (*skipped, *(blocks[b] for b in range(chosen[-1]) if b not in chosen))
            picked = blocks[list(chosen)]
            order = order_by(hashes, picked)
            for low, high, differing in near_in_runs(hashes[order], np.bitwise_or.reduce(picked), distance):
                kept = _kept(differing, passed)
                if len(kept):
                    yield order[low[kept]], order[high[kept]], differing[kept]
        return
    for first in range(len(blocks) - together + 1):
        order = order_by(hashes, blocks[first : first + 1])
        ordered = hashes[order]
        starts, _ = runs(ordered, blocks[first])
        for begin, end in pairwise([*starts.tolist(), len(hashes)]):
            passed = (*skipped, *blocks[:first])
            for low, high, differing in _sorted_by(
                ordered[begin:end], blocks[first + 1 :], together - 1, distance, passed
            ):
                yield order[begin + low], order[begin + high], differing


def _with_few(hashes: Hashes, few: Indices, distance: int) -> Iterator[Found]:
    """Compare the few at these positions with all: no sort pays for them."""
    is_few = np.zeros(len(hashes), np.bool_)
    is_few[few] = True
    for row, high, differing in near_in_tiles(hashes[few], hashes, distance):
        low = few[row]
        once = np.flatnonzero((low < high) | ~is_few[high])
        yield low[once], high[once], differing[once]


def _kept(differing: Hashes, skipped: Sequence[np.uint64]) -> Indices:
    """Positions of what differs in each of the `skipped` blocks."""
    kept = np.arange(len(differing))
    for block in skipped:
        kept = kept[differing[kept] & block != 0]
    return kept


def _plan(hashes: Hashes, distance: int) -> tuple[int, float]:
    """Choose how many blocks to sort by, and say how many nanoseconds that takes.

    More of them mean shorter runs but more sorts. How long runs are is seen in a sample: real hashes cluster.
    """
    sample = hashes[:: -(-len(hashes) // _SAMPLE)]
    possible = [k for k in range(1, BITS - distance) if k == 1 or comb(distance + k, k) <= _MOST_PASSES]
    costs = {together: _cost(sample, len(hashes), distance, together) for together in possible}
    best = min(costs, key=costs.__getitem__)
    return best, costs[best]


def _cost(sample: Hashes, count: int, distance: int, together: int) -> float:
    """Nanoseconds that `count` hashes like those of the sample take."""
    blocks = _block_masks(distance + together)
    pairs = 0.0
    for picked in (blocks[:together], blocks[-together:]):
        _, lengths = runs(sample[order_by(sample, picked)], np.bitwise_or.reduce(picked))
        pairs += float(lengths @ (lengths - 1)) / 4 * (count / len(sample)) ** 2
    keys = -(-BITS * together // (len(blocks) * RADIX_BITS))
    return comb(len(blocks), together) * (_PASS_NS + _SORT_NS * keys * count + _COMPARE_NS * pairs)


def _block_masks(blocks: int) -> Hashes:
    """Masks that cut 64 bits into `blocks` runs of nearly equal length."""
    edges = [round(BITS * i / blocks) for i in range(blocks + 1)]
    return np.array([(1 << high) - (1 << low) for low, high in pairwise(edges)], np.uint64)
