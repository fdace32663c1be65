"""All pairs of 64-bit hashes within a Hamming distance: exact, by sorting on chunks, in memory linear in their number.

Pigeonhole: cut 64 bits into d + k blocks. Two hashes that differ in at most d bits differ in at most d blocks, so they
agree in some k of them. For every choice of k blocks, sort by their bits alone, and compare what stands together
(the permuted sort of Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

BITS = 64
_SORT_NS = 90.0
"""Nanoseconds to sort one hash once, and to compare one pair: measured, and only their ratio matters."""
_COMPARE_NS = 12.0
_MOST_PASSES = 3_000

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A block of pairs: `low` and `high` index the given hashes (low < high), `distance` counts differing bits."""

    low: Indices
    high: Indices
    distance: NDArray[np.uint8]


def pairs_within(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    """Yield every pair of `hashes` at most `distance` bits apart exactly once, block by block, in no order."""
    unique, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    # Equal hashes are common (the same picture re-encoded, blank pages) and would fill every run: once is enough.
    members = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    yield from _equal_pairs(members, starts, counts)
    if distance == 0:
        return
    for low, high, bits in _unique_pairs(unique, distance):
        yield _expand(low, high, bits, members, starts, counts)


def _equal_pairs(members: Indices, starts: Indices, counts: Indices) -> Iterator[Pairs]:
    for group in np.flatnonzero(counts > 1):
        inside = members[starts[group] : starts[group + 1]]  # ascending: the sort was stable
        for offset in range(1, len(inside)):
            low, high = inside[:-offset], inside[offset:]
            yield Pairs(low, high, np.zeros(len(low), np.uint8))


def _expand(
    low: Indices, high: Indices, bits: NDArray[np.uint8], members: Indices, starts: Indices, counts: Indices
) -> Pairs:
    """Turn pairs of distinct hashes into pairs of everything that carries them."""
    repeats = counts[low] * counts[high]
    which = np.repeat(np.arange(len(low)), repeats)
    step = np.arange(len(which)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    a = members[starts[low[which]] + step // counts[high[which]]]
    b = members[starts[high[which]] + step % counts[high[which]]]
    return Pairs(np.minimum(a, b), np.maximum(a, b), bits[which])


def _unique_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Indices, Indices, NDArray[np.uint8]]]:
    together = _blocks_together(len(hashes), distance)
    blocks = _block_masks(distance + together)
    for chosen in combinations(range(len(blocks)), together):
        mask = np.bitwise_or.reduce(blocks[list(chosen)])
        # A pair may agree in more than k blocks. It is reported for its first k alone, so that none comes twice.
        skipped = blocks[[b for b in range(chosen[-1]) if b not in chosen]]
        yield from _pairs_of_one_sort(hashes, mask, skipped, distance)


def _pairs_of_one_sort(
    hashes: Hashes, mask: np.uint64, skipped: Hashes, distance: int
) -> Iterator[tuple[Indices, Indices, NDArray[np.uint8]]]:
    order = np.argsort(hashes & mask)
    ordered = hashes[order]
    keys = ordered & mask
    first = np.flatnonzero(keys[:-1] == keys[1:])
    offset = 1
    while len(first):
        differing = ordered[first] ^ ordered[first + offset]
        bits = np.bitwise_count(differing)
        near = np.flatnonzero(bits <= distance)
        for block in skipped:
            near = near[differing[near] & block != 0]
        if len(near):
            a, b = order[first[near]], order[first[near] + offset]
            yield np.minimum(a, b), np.maximum(a, b), bits[near]
        offset += 1
        first = first[: np.searchsorted(first, len(keys) - offset)]
        first = first[keys[first] == keys[first + offset]]


def _blocks_together(count: int, distance: int) -> int:
    """Choose how many blocks to sort by: more of them mean shorter runs but more sorts."""

    def cost(together: int) -> float:
        blocks = distance + together
        passes = comb(blocks, together)
        runs = count * (count / 2) / 2 ** (BITS * together / blocks)
        return passes * (_SORT_NS * count + _COMPARE_NS * runs)

    possible = [k for k in range(1, BITS - distance) if k == 1 or comb(distance + k, k) <= _MOST_PASSES]
    return min(possible, key=cost)


def _block_masks(blocks: int) -> Hashes:
    """Masks that cut 64 bits into `blocks` runs of nearly equal length."""
    edges = [round(BITS * i / blocks) for i in range(blocks + 1)]
    return np.array([(1 << high) - (1 << low) for low, high in pairwise(edges)], np.uint64)
