"""The second look at many pairs: pictures are read once as long as memory allows, and compared on all cores."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2

from curate.dedup.compare import Limits, Verdict, compare
from curate.dedup.picture import Picture, look_at

_KEPT = 4_000
"""Pictures held at once: some 600 MB, and half as much again that the allocator keeps."""
_AT_ONCE = 64
"""Pairs a thread takes at a time; also how often progress is counted."""


@dataclass(frozen=True)
class Verifier:
    """Looks at proposed pairs, given as numbers that `read` turns into the bytes of an image."""

    limits: Limits
    read: Callable[[int], bytes]
    _shelf: "_Shelf" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shelf", _Shelf(self.read))

    @property
    def name(self) -> str:
        """What it does and how strictly. Pairs are looked at anew when this changes."""
        return f"sift2 likeness>={self.limits.likeness:g} rgb<{self.limits.difference:g}"

    def look(self, pairs: Sequence[tuple[int, int]], advance: Callable[[int], None]) -> list[Verdict]:
        """Compare each pair; pairs that share an image should stand together. `advance` counts pairs done."""
        cv2.setNumThreads(1)  # the cores are busy with pairs
        shelf = self._shelf
        verdicts: list[Verdict] = []

        def some(start: int) -> list[Verdict]:
            return [compare(shelf.get(a), shelf.get(b), self.limits) for a, b in pairs[start : start + _AT_ONCE]]

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for found in pool.map(some, range(0, len(pairs), _AT_ONCE)):
                    verdicts += found
                    advance(len(found))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return verdicts


class _Shelf:
    """Pictures by number; those not asked for the longest make room."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._kept: OrderedDict[int, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, number: int) -> Picture:
        with self._lock:
            found = self._kept.get(number)
            if found is not None:
                self._kept.move_to_end(number)
                return found
        found = look_at(self._read(number), f"image {number}")
        with self._lock:
            self._kept[number] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found
