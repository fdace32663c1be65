"""Who is at work on a target: which candidates are claimed, how many of each host, and when to start more."""

import asyncio
from collections import Counter

from curate.crawl.claims import Work

MOST_STARTED = 256
"""Candidates claimed and under way or waiting for their host."""
MOST_OF_A_HOST = 16
"""Of these, of one host: the rest of the places are for others, however slow it is."""
STRAGGLER_SECONDS = 10.0
"""After this long a fetch no longer holds a place: a slow host must not keep a class from being filled by others."""


class Line:
    """Candidates under way. Sets `wake` when it is time to start more, or when nothing is left."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._refill_at = 0
        self.is_due = True
        """Whether more work may be started. Only once half of the last has ended: a claim is a transaction."""
        self.holding = 0
        """Of those under way, the ones that are no stragglers."""
        self.running: set[asyncio.Task[None]] = set()
        self.claimed: set[int] = set()
        """Candidates that are claimed and not decided."""
        self.of_host: Counter[str] = Counter()

    def enter(self, work: Work, running: asyncio.Task[None]) -> None:
        """Follow a piece of work to its end."""
        self.running.add(running)
        self.claimed.add(work.id)
        self.of_host[work.host] += 1
        self.holding += 1
        place = asyncio.get_running_loop().call_later(STRAGGLER_SECONDS, self._let_place_go)
        running.add_done_callback(lambda task: self._leave(task, work.host, place))

    def filled(self) -> None:
        """Start no more until half of what is under way has ended, or something new is found."""
        self._refill_at = self.holding // 2
        self.is_due = False

    def call(self) -> None:
        """Let more be started now."""
        self.is_due = True
        self._wake.set()

    def _leave(self, task: asyncio.Task[None], host: str, place: asyncio.TimerHandle) -> None:
        self.running.discard(task)
        self.of_host[host] -= 1
        if place.when() > asyncio.get_running_loop().time():
            place.cancel()
            self.holding -= 1
        self._stir()

    def _let_place_go(self) -> None:
        self.holding -= 1
        self._stir()

    def _stir(self) -> None:
        if self.holding <= self._refill_at:
            self.is_due = True
        if self.is_due or not self.running:
            self._wake.set()
