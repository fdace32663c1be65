"""All pairs within a Hamming distance: the right ones, each once, in blocks of bounded size."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.dedup import hamming, runs
from curate.dedup.hamming import BLOCK, Pairs, pairs_within
from curate.dedup.runs import Hashes

Flags = NDArray[np.bool_]
Found = set[tuple[int, int, int]]


def brute_force(hashes: list[int], distance: int) -> Found:
    """All pairs, the slow way."""
    found = set()
    for i, a in enumerate(hashes):
        for j in range(i + 1, len(hashes)):
            bits = (a ^ hashes[j]).bit_count()
            if bits <= distance:
                found.add((i, j, bits))
    return found


def all_with_all(hashes: Hashes, distance: int, new: Flags | None = None) -> Found:
    """The same for thousands of hashes, and with new ones marked."""
    bits = np.bitwise_count(hashes[:, None] ^ hashes)
    near = bits <= distance if new is None else (bits <= distance) & (new[:, None] | new)
    low, high = np.nonzero(np.triu(near, 1))
    return set(zip(low.tolist(), high.tolist(), bits[low, high].tolist(), strict=True))


def collected(blocks: Iterator[Pairs]) -> Found:
    """What the blocks hold, once it is sure that nothing comes twice."""
    found = [
        (int(a), int(b), int(d))
        for pairs in blocks
        for a, b, d in zip(pairs.low, pairs.high, pairs.distance, strict=True)
    ]
    assert len(found) == len(set(found))
    return set(found)


def clustered(number: int, centres: int, most: int, seed: int) -> Hashes:
    """Hashes around a few centres, each with up to `most` bits flipped: many are the same."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 2**64, centres, dtype=np.uint64)[rng.integers(0, centres, number)]
    flips = rng.integers(0, most + 1, number)
    for flip in range(most):
        found ^= np.where(flip < flips, np.uint64(1) << rng.integers(0, 64, number, dtype=np.uint64), np.uint64(0))
    return found


@settings(max_examples=60, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6),
    flips=st.lists(st.lists(st.integers(0, 63), max_size=18), max_size=30),
    distance=st.integers(0, 16),
)
def test_every_pair_is_found_once(seeds: list[int], flips: list[list[int]], distance: int) -> None:
    """The search gives exactly the pairs that comparing all with all gives, however the hashes cluster."""
    hashes = list(seeds)
    for number, bits in enumerate(flips):
        value = seeds[number % len(seeds)]
        for bit in bits:
            value ^= 1 << bit
        hashes.append(value)
    assert collected(pairs_within(np.array(hashes, np.uint64), distance)) == brute_force(hashes, distance)


@pytest.mark.parametrize("distance", [0, 1, 2, 6, 10])
@pytest.mark.parametrize("centres", [1, 7, 300, 2000])
def test_clusters_of_any_density_are_searched_exactly(centres: int, distance: int) -> None:
    """From one cluster of everything to hardly any."""
    hashes = clustered(2000, centres, 8, seed=centres)
    assert collected(pairs_within(hashes, distance)) == all_with_all(hashes, distance)


@pytest.mark.parametrize("together", [1, 2, 3, 4])
def test_parts_and_passes_change_nothing(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large numbers are parted first, and sorted by more blocks: the same ways with few hashes give the same pairs."""
    monkeypatch.setattr(hamming, "_LEAST_PART", 4)
    monkeypatch.setattr(runs, "_LONG", 6)
    monkeypatch.setattr(runs, "_LEAST_RUNS", 3)
    monkeypatch.setattr(runs, "_TILE", 32)
    monkeypatch.setattr(runs, "_WIDE", 8)
    monkeypatch.setattr(hamming, "_plan", lambda _hashes, _distance: (together, 0.0))
    for distance in (2, 6):
        hashes = clustered(700, 40, 8, seed=together)
        assert collected(pairs_within(hashes, distance)) == all_with_all(hashes, distance)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    centres=st.sampled_from([1, 5, 60]),
    share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    distance=st.sampled_from([0, 3, 6]),
    few_ns=st.sampled_from([0.0, 1e9]),
)
def test_with_new_ones_marked_only_their_pairs_are_given(
    seed: int, centres: int, share: float, distance: int, few_ns: float
) -> None:
    """Whether the new ones are compared with all, or all are sorted."""
    hashes = clustered(400, centres, 6, seed)
    new = np.random.default_rng(seed).random(len(hashes)) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_TILE_NS", few_ns)
        found = collected(pairs_within(hashes, distance, new))
    assert found == all_with_all(hashes, distance, new)


def test_blocks_are_of_bounded_size() -> None:
    """A thousand blank pages and what is near to them: half a million pairs of the same, a million of neighbours."""
    hashes = np.repeat(np.array([0, 1, 2**63], np.uint64), [1000, 1000, 300])
    sizes = [len(pairs.low) for pairs in pairs_within(hashes, 6)]
    assert max(sizes) <= BLOCK
    assert sum(sizes) == 2300 * 2299 // 2


def test_a_huge_group_is_given_piece_by_piece() -> None:
    """A hundred thousand equal hashes have five billion pairs: the first come at once, and in small arrays."""
    some = pairs_within(np.zeros(100_000, np.uint64), 6)
    for _ in range(3):
        assert len(next(some).low) <= BLOCK
    one_new = np.arange(100_000) == 50_000
    assert sum(len(pairs.low) for pairs in pairs_within(np.zeros(100_000, np.uint64), 6, one_new)) == 99_999


def test_nothing_new_and_nothing_at_all_have_no_pairs() -> None:
    """Neither is an error."""
    assert list(pairs_within(np.empty(0, np.uint64), 6)) == []
    assert list(pairs_within(np.zeros(3, np.uint64), 6, np.zeros(3, np.bool_))) == []
