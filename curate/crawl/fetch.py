"""The one fetcher: every byte from the web comes through here, capped, timed, guarded and paced.

A refusal is a value with a reason; nothing that a server does raises.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Self, overload

import aiohttp
from yarl import URL

from curate import __version__
from curate.crawl import wire
from curate.crawl.guard import GuardedResolver, origin, parse
from curate.crawl.hosts import Host, Hosts, Pace
from curate.crawl.robots import ROBOTS_BYTES, Robots
from curate.crawl.settings import CrawlSettings
from curate.crawl.wire import NEVER, Ask, Body, Kind, Redirect, Seen, TooMany, Unchanged
from db.reasons import Reason, Refusal

_MOST_REDIRECTS = 5
_UNREADABLE = {Reason.BLOCKED_ADDRESS, Reason.ENCODED_BODY}
"""A robots.txt that is there and cannot be read may forbid anything."""
_LASTING = {Reason.DNS_FAILURE, Reason.TLS_FAILURE}
"""What a second or two mend seldom: a name that is not there, a certificate that has run out."""
_FIRST_BACKOFF_SECONDS = 0.5
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Fetcher:
    """Fetches addresses. Use it as an async context; all that runs in it shares pace and connections.

    `known` are the paces that hosts were found to have before, `remember` is told of new ones.
    """

    def __init__(
        self,
        settings: CrawlSettings,
        known: Iterable[Pace] = (),
        remember: Callable[[Pace], None] = lambda _pace: None,
    ) -> None:
        self.settings = settings
        self.agent = _agent(settings.contact)
        self._known = known
        self._remember = remember
        self._concurrency = asyncio.Semaphore(settings.concurrency)
        self.may_begin = asyncio.Event()
        """Cleared by whoever has more in hand than can be worked on: nothing new is then begun."""
        self.may_begin.set()

    async def __aenter__(self) -> Self:
        settings = self.settings
        self.hosts = Hosts(settings.per_host, settings.max_wait_seconds, self._known, self._remember)
        resolver = GuardedResolver(allow_private=settings.allow_private_addresses)
        # No proxy from the environment (`trust_env`): it would connect on our behalf, past the guard.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, resolver=resolver, socket_factory=resolver.socket_factory(), keepalive_timeout=15.0
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": self.agent, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @overload
    async def get(
        self,
        url: str,
        kind: Kind,
        max_bytes: int,
        *,
        headers: Mapping[str, str] = ...,
        form: Mapping[str, str] | None = ...,
        ignore_robots: bool = ...,
    ) -> Body | Refusal: ...

    @overload
    async def get(self, url: str, kind: Kind, max_bytes: int, *, seen: Seen) -> Body | Unchanged | Refusal: ...

    async def get(
        self,
        url: str,
        kind: Kind,
        max_bytes: int,
        *,
        seen: Seen = NEVER,
        headers: Mapping[str, str] = _NOTHING,
        form: Mapping[str, str] | None = None,
        ignore_robots: bool = False,
    ) -> Body | Unchanged | Refusal:
        """Fetch `url`, trying again what may have been the network's fault.

        `seen` asks for another version only. `headers` (a credential, perhaps) go to the host of `url` and to no
        other that it may redirect to, and so does `ignore_robots`; a `form` makes it a POST.
        """
        refusal = Refusal(Reason.TIMEOUT)
        ask = Ask({**headers, **seen.headers()}, form, seen != NEVER)
        for attempt in range(self.settings.attempts):
            if attempt and refusal.reason is not Reason.RATE_LIMITED:  # the host has said itself when to ask again
                await asyncio.sleep(_FIRST_BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            found = await self._follow(url, kind, max_bytes, ask, ignore_robots=ignore_robots)
            if not isinstance(found, Refusal):
                return found
            refusal = found
            if not refusal.reason.passing or refusal.reason in _LASTING:
                break
        return refusal

    async def _follow(
        self, url: str, kind: Kind, max_bytes: int, ask: Ask, *, ignore_robots: bool
    ) -> Body | Unchanged | Refusal:
        """Go from redirect to redirect, every hop checked as if it were the first."""
        deadline = _Deadline(self.settings.deadline_seconds)
        first = ""
        for _ in range(_MOST_REDIRECTS + 1):
            parsed = parse(url)
            if isinstance(parsed, Refusal):
                return parsed
            host = self.hosts.at(origin(parsed))
            first = first or host.address
            if kind is not Kind.API and not (ignore_robots and host.address == first):
                refusal = await self._robots_refusal(host, parsed)
                if refusal is not None:
                    return refusal
            found = await self._visit(host, parsed, kind, max_bytes, ask if host.address == first else Ask(), deadline)
            if not isinstance(found, Redirect):
                return found
            url = found.to
        return Refusal(Reason.TOO_MANY_REDIRECTS, f"more than {_MOST_REDIRECTS}")

    async def _robots_refusal(self, host: Host, url: URL) -> Refusal | None:
        if host.robots is None:
            async with host.robots_lock:
                if host.robots is None:
                    found = await self._read_robots(host, url)
                    host.robots_failures += isinstance(found, Refusal)
                    # A hiccup is no answer: only what fails again and again forbids the host for this run.
                    if isinstance(found, Refusal) and host.robots_failures < self.settings.attempts:
                        return found
                    host.robots = found
        if isinstance(host.robots, Refusal):
            return host.robots
        host.least_interval = min(host.robots.delay, self.settings.max_wait_seconds)
        return None if host.robots.allow(str(url)) else Refusal(Reason.ROBOTS_DISALLOWED, "by robots.txt")

    async def _read_robots(self, host: Host, url: URL) -> Robots | Refusal:
        address = url.with_path("/robots.txt").with_fragment(None)
        found: Body | Unchanged | Redirect | Refusal = Refusal(Reason.TOO_MANY_REDIRECTS)
        for _ in range(_MOST_REDIRECTS + 1):
            deadline = _Deadline(self.settings.deadline_seconds)
            found = await self._visit(host, address, Kind.ROBOTS, ROBOTS_BYTES, Ask(), deadline)
            if not isinstance(found, Redirect):
                break
            target = parse(found.to)
            if isinstance(target, Refusal):
                return Robots.allow_all()
            address, host = target, self.hosts.at(origin(target))
        # RFC 9309: what cannot be reached forbids everything for now, what is not there forbids nothing.
        if isinstance(found, Refusal) and (found.reason.passing or found.reason in _UNREADABLE):
            return found
        return Robots.parse(found.data) if isinstance(found, Body) else Robots.allow_all()

    async def _visit(
        self, host: Host, url: URL, kind: Kind, max_bytes: int, ask: Ask, deadline: "_Deadline"
    ) -> Body | Unchanged | Redirect | Refusal:
        """Ask one host once, when it is its turn."""
        while True:
            async with self.hosts.turn(host) as refusal:
                if refusal is not None:
                    return refusal
                async with self._concurrency:
                    await self.may_begin.wait()
                    if host.paused():
                        continue  # it has asked for patience while we waited
                    answered = await self._request(url, kind, max_bytes, ask, deadline)
                self.hosts.note(host, answered.found if isinstance(answered.found, Refusal) else None)
                break
        if isinstance(answered.found, TooMany):
            return self.hosts.patience(host, answered.found.seconds, answered.found.status)
        if not isinstance(answered.found, Refusal) or not answered.found.reason.passing:
            self.hosts.learn(host, answered.headers)
        return answered.found

    async def _request(self, url: URL, kind: Kind, max_bytes: int, ask: Ask, deadline: "_Deadline") -> wire.Answered:
        try:
            async with asyncio.timeout(deadline.left()):
                return await wire.request(self._session, url, kind, max_bytes, ask)
        except TimeoutError:
            return wire.Answered(Refusal(Reason.TIMEOUT, f"not whole after {self.settings.deadline_seconds:g} s"))
        finally:
            deadline.stop()


def _agent(contact: str) -> str:
    """Say who asks, in the form that Wikimedia requires: client/version (contact) library/version."""
    return " ".join(
        filter(None, [f"curate/{__version__}", contact and f"({contact})", f"aiohttp/{aiohttp.__version__}"])
    )


class _Deadline:
    """Seconds that one file may take on the wire; waiting for a turn does not count."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._started = 0.0

    def left(self) -> float:
        """Start the clock, and give what it has left."""
        self._started = time.monotonic()
        return max(0.0, self._left)

    def stop(self) -> None:
        """Stop the clock."""
        self._left -= time.monotonic() - self._started
