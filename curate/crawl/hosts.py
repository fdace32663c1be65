"""How each host wants to be asked: how many requests at once, how far apart, and when not at all.

A pace is learned from the answers. A pause that was asked for outlives the process: it is handed to whoever keeps it.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from db.reasons import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from curate.crawl.robots import Robots

FIRST_PAUSE_SECONDS = 2.0
"""After a 429 that does not say for how long; doubled at each further one."""
_MOST_FAILURES = 10
"""In a row, after which a host is left alone for the rest of the run: it is down, or will not have us."""
_GONE = {Reason.TIMEOUT, Reason.CONNECTION_FAILED, Reason.DNS_FAILURE, Reason.TLS_FAILURE}
_SLOWEST_INTERVAL = 30.0
_RELAX = 0.9
"""What an interval shrinks by at each good answer: after twenty of them a tenth is left."""
_NEGLIGIBLE = 0.01
_PERIODS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}
_LIMIT = re.compile(r"(\d{1,9})\s*/\s*([a-z]+)")
_LONGEST_KEPT_SECONDS = 86400.0
"""Of a pause: whoever asks for more is asked again after a day."""
_EPOCH_MILLISECONDS = 100_000_000_000
_EPOCH = 1_000_000_000
"""A reset beyond this many seconds is a moment, not a time to wait."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is kept of a host from run to run."""

    address: str
    resume_at: datetime | None
    interval: float


@dataclass
class Host:
    """One host while a crawl lasts."""

    address: str
    per_host: int
    slots: asyncio.Semaphore
    resume_at: float = 0.0
    """By the monotonic clock: it asked not to be bothered before."""
    interval: float = 0.0
    """Seconds between the beginnings of two requests."""
    given_up: Refusal | None = None
    """Why nothing more is asked of it in this run."""
    least_interval: float = 0.0
    """What its robots.txt asks for: no good answer takes that away."""
    next_at: float = 0.0
    refusals: int = 0
    """How often in a row it asked for patience."""
    failures: int = 0
    """How often in a row it could not be reached, or did not end what it had begun."""
    waiting: int = 0
    robots: "Robots | Refusal | None" = None
    robots_failures: int = 0
    robots_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def paused(self) -> float:
        """Seconds for which it is still to be left alone."""
        return max(0.0, self.resume_at - time.monotonic())


class Hosts:
    """All hosts of a crawl. `remember` is told whenever one of them asks for patience."""

    def __init__(
        self, per_host: int, longest_pause: float, known: Iterable[Pace], remember: Callable[[Pace], None]
    ) -> None:
        self._per_host = per_host
        self._longest_pause = longest_pause
        self._remember = remember
        self._hosts: dict[str, Host] = {}
        for pace in known:
            self._recall(pace)

    def at(self, address: str) -> Host:
        """The host at `scheme://name:port`."""
        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = Host(address, self._per_host, asyncio.Semaphore(self._per_host))
        return host

    def busiest(self, most: int) -> list[Host]:
        """Hosts that most requests wait for, longest queue first."""
        waiting = [host for host in self._hosts.values() if host.waiting]
        return sorted(waiting, key=lambda host: -host.waiting)[:most]

    @asynccontextmanager
    async def turn(self, host: Host) -> "AsyncIterator[Refusal | None]":
        """Wait until the host may be asked once more. Gives a refusal where that would take too long."""
        host.waiting += 1
        counted = True
        try:
            async with host.slots:
                refusal = await self._wait(host)
                host.waiting -= 1
                counted = False
                yield refusal
        finally:
            host.waiting -= counted

    async def _wait(self, host: Host) -> Refusal | None:
        if host.given_up is not None:
            return host.given_up
        while True:
            paused = host.paused()
            if paused > self._longest_pause:
                return Refusal(Reason.RATE_LIMITED, f"asked to be left alone for {paused:.0f} s more")
            wait = max(paused, host.next_at - time.monotonic())
            if wait <= 0:
                break
            await asyncio.sleep(wait)  # it may have moved on meanwhile
        host.next_at = time.monotonic() + max(host.interval, host.least_interval)
        return None

    def patience(self, host: Host, seconds: float | None, status: int) -> Refusal:
        """Leave a host alone for as long as it asks, and ask it more slowly from then on."""
        wait = FIRST_PAUSE_SECONDS * 2 ** min(host.refusals, 6) if seconds is None else seconds
        host.refusals += 1
        host.interval = min(_SLOWEST_INTERVAL, max(2 * host.interval, 0.25))
        self.pause(host, wait)
        return Refusal(Reason.RATE_LIMITED, f"asked to wait {wait:g} s", status)

    def pause(self, host: Host, seconds: float) -> None:
        """Ask nothing of a host for so long."""
        host.resume_at = max(host.resume_at, time.monotonic() + min(seconds, _LONGEST_KEPT_SECONDS))
        resume_at = datetime.now(UTC) + timedelta(seconds=host.paused())
        self._remember(Pace(host.address, resume_at, host.interval))

    def learn(self, host: Host, headers: Mapping[str, str]) -> None:
        """Take from a good answer how many more the host will give, and in what time."""
        host.refusals = 0
        host.interval = host.interval * _RELAX if host.interval > _NEGLIGIBLE else 0.0
        for left, limit, period in allowances(headers):
            if left <= 0:
                self.pause(host, period)
            elif limit and left <= limit / 4:
                # Nearly used up: from here on no faster than it is filled up again.
                host.interval = max(host.interval, min(_SLOWEST_INTERVAL, period / limit))

    def note(self, host: Host, refusal: Refusal | None) -> None:
        """Count what could not be had of a host at all; give it up where that does not end."""
        host.failures = host.failures + 1 if refusal is not None and refusal.reason in _GONE else 0
        if refusal is not None and host.failures >= _MOST_FAILURES:
            words = f"left alone for this run after {host.failures} failures in a row, the last: {refusal.detail}"
            host.given_up = Refusal(refusal.reason, words)

    def _recall(self, pace: Pace) -> None:
        host = self.at(pace.address)
        host.interval = pace.interval
        if pace.resume_at is not None:
            host.resume_at = time.monotonic() + (pace.resume_at - datetime.now(UTC)).total_seconds()


def allowances(headers: Mapping[str, str]) -> list[tuple[int, int, float]]:
    """Read rate headers: requests left, the limit (0 where unknown), and the seconds in which it is filled up.

    Openverse's `X-RateLimit-Limit-burst: 20/min` with `X-RateLimit-Available-burst: 3`, and the more common
    `X-RateLimit-Remaining: 3` (or `RateLimit-Remaining`) with `-Reset`, in seconds or as a moment.
    """
    found = []
    for name, value in headers.items():
        if name.startswith("x-ratelimit-available-"):
            limit = _LIMIT.match(headers.get(name.replace("available", "limit"), ""))
            period = _PERIODS.get(limit.group(2), 0) if limit else 0
            if limit and period and _number(value) is not None:
                found.append((int(value), int(limit.group(1)), float(period)))
    for prefix in ("x-ratelimit", "ratelimit"):
        left, reset = _number(headers.get(f"{prefix}-remaining", "")), _number(headers.get(f"{prefix}-reset", ""))
        if left is not None and reset is not None:
            moment = reset / 1000 if reset > _EPOCH_MILLISECONDS else reset
            seconds = moment - time.time() if moment > _EPOCH else moment
            found.append((left, _number(headers.get(f"{prefix}-limit", "")) or 0, max(0.0, seconds)))
    return found


def _number(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) < len("1" + "0" * 15) else None
