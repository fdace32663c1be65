"""The one fetcher: every byte from the web comes through here, capped, timed, guarded and paced.

A refusal is a value with a reason; nothing that a server does raises.
"""

import asyncio
import random
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import TracebackType
from typing import Self

import httpcore
import httpx

from curate import __version__
from curate.config import CrawlSettings
from curate.crawl.guard import BlockedAddressError, GuardedBackend, UnknownHostError, parse
from curate.crawl.robots import ROBOTS_BYTES, Robots, opted_out
from db.reasons import Reason, Refusal

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 20.0
_FIRST_BACKOFF_SECONDS = 0.5


class Kind(StrEnum):
    """What is asked for. robots.txt governs pages and images; a documented API is governed by its terms."""

    API = "api"
    PAGE = "page"
    IMAGE = "image"
    ROBOTS = "robots"
    """Read up to the cap, and no further: the rules at its head count."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a server gave, from the last address of a chain of redirects."""

    data: bytes
    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Redirect:
    to: str


@dataclass
class _Host:
    """What is known of a host while a crawl lasts."""

    slots: asyncio.Semaphore
    resume_at: float = 0.0
    """By the monotonic clock: it asked not to be bothered before."""
    given_up: Refusal | None = None
    robots: Robots | Refusal | None = None
    robots_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Fetcher:
    """Fetches addresses. Use it as an async context; all that runs in it shares pace and connections."""

    def __init__(self, settings: CrawlSettings) -> None:
        self.settings = settings
        self.agent = f"curate/{__version__}" + (f" ({settings.contact})" if settings.contact else "")
        self._hosts: dict[str, _Host] = {}
        self._concurrency = asyncio.Semaphore(settings.concurrency)
        # No proxy from the environment: it would connect on our behalf, past the guard.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=settings.concurrency * 2,
            max_keepalive_connections=settings.concurrency,
            keepalive_expiry=15.0,
            network_backend=GuardedBackend(allow_private=settings.allow_private_addresses),
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)

    async def get(self, url: str, kind: Kind, max_bytes: int) -> Body | Refusal:
        """Fetch `url`, trying again what may have been the network's fault."""
        refusal = Refusal(Reason.TIMEOUT)
        for attempt in range(self.settings.attempts):
            if attempt:
                await asyncio.sleep(_FIRST_BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            found = await self._follow(url, kind, max_bytes)
            if isinstance(found, Body):
                return found
            refusal = found
            if not refusal.reason.passing or refusal.reason is Reason.DNS_FAILURE:
                break
        return refusal

    async def _follow(self, url: str, kind: Kind, max_bytes: int) -> Body | Refusal:
        """Go from redirect to redirect, every hop checked as if it were the first."""
        deadline = _Deadline(self.settings.deadline_seconds)
        for _ in range(_MOST_REDIRECTS + 1):
            parsed = parse(url)
            if isinstance(parsed, Refusal):
                return parsed
            host = self._host(parsed)
            if kind is not Kind.API:
                refusal = await self._robots_refusal(host, parsed)
                if refusal is not None:
                    return refusal
            found = await self._visit(host, parsed, kind, max_bytes, deadline)
            if not isinstance(found, _Redirect):
                return found
            url = found.to
        return Refusal(Reason.TOO_MANY_REDIRECTS, f"more than {_MOST_REDIRECTS}")

    def _host(self, url: httpx.URL) -> _Host:
        key = f"{url.scheme}://{url.netloc.decode('ascii')}"
        return self._hosts.setdefault(key, _Host(asyncio.Semaphore(self.settings.per_host)))

    async def _robots_refusal(self, host: _Host, url: httpx.URL) -> Refusal | None:
        async with host.robots_lock:
            if host.robots is None:
                host.robots = await self._read_robots(host, url)
        if isinstance(host.robots, Refusal):
            return host.robots
        return None if host.robots.allow(str(url)) else Refusal(Reason.ROBOTS_DISALLOWED, "by robots.txt")

    async def _read_robots(self, host: _Host, url: httpx.URL) -> Robots | Refusal:
        address = url.copy_with(path="/robots.txt", query=None, fragment=None)
        found: Body | _Redirect | Refusal = Refusal(Reason.TOO_MANY_REDIRECTS)
        for _ in range(_MOST_REDIRECTS + 1):
            deadline = _Deadline(self.settings.deadline_seconds)
            found = await self._visit(host, address, Kind.ROBOTS, ROBOTS_BYTES, deadline)
            if not isinstance(found, _Redirect):
                break
            target = parse(found.to)
            if isinstance(target, Refusal):
                return Robots.allow_all()
            address, host = target, self._host(target)
        # RFC 9309: what cannot be reached forbids everything for now, what is not there forbids nothing.
        if isinstance(found, Refusal) and (found.reason.passing or found.reason is Reason.BLOCKED_ADDRESS):
            return found
        return Robots.parse(found.data) if isinstance(found, Body) else Robots.allow_all()

    async def _visit(
        self, host: _Host, url: httpx.URL, kind: Kind, max_bytes: int, deadline: "_Deadline"
    ) -> Body | _Redirect | Refusal:
        """Ask one host once, when it is its turn."""
        async with host.slots:
            while (wait := host.resume_at - time.monotonic()) > 0:  # noqa: ASYNC110 - it may have moved on meanwhile
                await asyncio.sleep(wait)
            if host.given_up is not None:
                return host.given_up
            async with self._concurrency:
                try:
                    async with asyncio.timeout(deadline.left()):
                        found = await self._request(url, kind, max_bytes)
                except TimeoutError:
                    return Refusal(Reason.TIMEOUT, f"not whole after {self.settings.deadline_seconds:g} s")
                finally:
                    deadline.stop()
        if isinstance(found, _TooMany):
            return self._pause(host, found)
        return found

    def _pause(self, host: _Host, told: "_TooMany") -> Refusal:
        """Leave a host alone for as long as it asks; until the next run if it asks for too long."""
        wait = _FIRST_BACKOFF_SECONDS * 4 if told.seconds is None else told.seconds
        refusal = Refusal(Reason.RATE_LIMITED, f"asked to wait {wait:g} s", told.status)
        if wait > self.settings.max_wait_seconds:
            host.given_up = refusal
        else:
            host.resume_at = max(host.resume_at, time.monotonic() + wait)
        return refusal

    async def _request(self, url: httpx.URL, kind: Kind, max_bytes: int) -> "Body | _Redirect | _TooMany | Refusal":
        headers = [("Host", url.netloc.decode("ascii")), ("User-Agent", self.agent), ("Accept-Encoding", "identity")]
        timeout = {"connect": _CONNECT_SECONDS, "read": _READ_SECONDS, "write": _READ_SECONDS, "pool": None}
        address = str(url.copy_with(fragment=None))
        try:
            async with self._pool.stream("GET", address, headers=headers, extensions={"timeout": timeout}) as response:
                return await _read(response, url, kind, max_bytes)
        except _EXPECTED as error:
            return _refusal_of(error)


_EXPECTED = (
    BlockedAddressError,
    UnknownHostError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    OSError,
)


def _refusal_of(error: Exception) -> Refusal:
    """Name what went wrong on the wire."""
    words = str(error) or type(error).__name__
    if isinstance(error, BlockedAddressError):
        return Refusal(Reason.BLOCKED_ADDRESS, words)
    if isinstance(error, UnknownHostError):
        return Refusal(Reason.DNS_FAILURE, words)
    if isinstance(error, httpcore.TimeoutException):
        return Refusal(Reason.TIMEOUT, words)
    if isinstance(error, httpcore.ConnectError) and ("SSL" in words or "certificate" in words.lower()):
        return Refusal(Reason.TLS_FAILURE, words)
    # h11 has no error of its own for a body that ends before its Content-Length, or before its last chunk.
    if isinstance(error, httpcore.RemoteProtocolError) and ("complete message body" in words or "incomplete" in words):
        return Refusal(Reason.SHORT_BODY, words)
    return Refusal(Reason.CONNECTION_FAILED, words)


@dataclass(frozen=True, slots=True)
class _TooMany:
    """A server asked for patience: seconds to wait, or None where it did not say how long."""

    status: int
    seconds: float | None


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


async def _read(
    response: httpcore.Response, url: httpx.URL, kind: Kind, max_bytes: int
) -> "Body | _Redirect | _TooMany | Refusal":
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    status = response.status
    if status in _REDIRECTS and "location" in headers:
        return _Redirect(str(url.join(headers["location"])))
    refusal = _refusal_by_head(status, headers, kind, max_bytes)
    if refusal is not None:
        return refusal
    data = bytearray()
    async for chunk in response.aiter_stream():
        data += chunk
        if len(data) > max_bytes:
            if kind is Kind.ROBOTS:
                break
            return Refusal(Reason.TOO_MANY_BYTES, f"more than {max_bytes}")
    return Body(bytes(data), str(url), headers)


def _refusal_by_head(status: int, headers: dict[str, str], kind: Kind, max_bytes: int) -> "_TooMany | Refusal | None":
    if status == httpx.codes.TOO_MANY_REQUESTS or (
        status == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in headers
    ):
        return _TooMany(status, retry_after(headers.get("retry-after", "")))
    if status != httpx.codes.OK:
        reason = Reason.HTTP_5XX if status >= httpx.codes.INTERNAL_SERVER_ERROR else Reason.HTTP_4XX
        return Refusal(reason, httpx.codes.get_reason_phrase(status), status)
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Refusal(Reason.ENCODED_BODY, headers["content-encoding"])
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes and kind is not Kind.ROBOTS:
        return Refusal(Reason.TOO_MANY_BYTES, f"{length}, more than {max_bytes}")
    if kind is Kind.IMAGE and opted_out(headers.get("x-robots-tag", "")):
        return Refusal(Reason.OPTED_OUT, f"X-Robots-Tag: {headers['x-robots-tag']}")
    return None


def retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None where it says nothing usable."""
    value = value.strip()
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
