"""One request on the wire: bytes capped, encodings refused, and every failure a value with its reason."""

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

import aiohttp
from yarl import URL

from curate.crawl.guard import NO_URL, BlockedAddressError
from curate.crawl.robots import opted_out
from db.reasons import Reason, Refusal

_LONGEST_WORDS = 200
_STRAY = re.compile("[\udc80-\udcff]")
REDIRECTS = {301, 302, 303, 307, 308}
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=20.0)
"""Seconds without a byte. A server that drips never trips it: the fetcher has a total deadline beside it."""


class Kind(StrEnum):
    """What is asked for. robots.txt governs pages and images; a documented API is governed by its terms."""

    API = "api"
    PAGE = "page"
    IMAGE = "image"
    ROBOTS = "robots"
    """Read up to the cap, and no further: the rules at its head count."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server said of a version of a file, in its own words; empty where it said nothing."""

    etag: str = ""
    last_modified: str = ""

    def headers(self) -> dict[str, str]:
        """Headers that ask for another version only."""
        pairs = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified))
        return {name: value for name, value in pairs if value}


NEVER = Seen()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request says beside its address. With a form it is a POST."""

    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    is_conditional: bool = False
    """Whether it asks for another version only. Who answers 304 to anything else has nothing for us."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a server gave, from the last address of a chain of redirects."""

    data: bytes
    url: str
    headers: dict[str, str]

    @property
    def seen(self) -> Seen:
        """What makes a later request conditional."""
        return Seen(self.headers.get("etag", ""), self.headers.get("last-modified", ""))


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The server has nothing newer than what was seen."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Look elsewhere."""

    to: str


@dataclass(frozen=True, slots=True)
class TooMany:
    """A server asked for patience: seconds to wait, or None where it did not say how long."""

    status: int
    seconds: float | None


@dataclass(slots=True)
class Answered:
    """What came of one request, and the headers that say how the host wants to be asked."""

    found: Body | Unchanged | Redirect | TooMany | Refusal
    headers: dict[str, str] = field(default_factory=dict)


async def request(session: aiohttp.ClientSession, url: URL, kind: Kind, max_bytes: int, ask: "Ask") -> Answered:
    """Ask for `url` once."""
    method = "GET" if ask.form is None else "POST"
    try:
        async with session.request(
            method, url, headers=ask.headers, data=ask.form, allow_redirects=False, timeout=_TIMEOUT
        ) as response:
            headers = _joined(response.headers.items())
            if response.status == HTTPStatus.NOT_MODIFIED and ask.is_conditional:
                return Answered(Unchanged(), headers)
            return Answered(await _read(response, headers, url, kind, max_bytes), headers)
    except _EXPECTED as error:
        return Answered(_refusal_of(error))


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by their names in lower case; what is said in several lines is one list, as RFC 9110 has it.

    But for X-Robots-Tag, whose lines may each be meant for another crawler: they stay apart.
    """
    found: dict[str, str] = {}
    for name, said in headers:
        key, value = name.lower(), _text(said)
        between = "\n" if key == "x-robots-tag" else ", "
        found[key] = f"{found[key]}{between}{value}" if key in found else value
    return found


def _text(said: str) -> str:
    """Give what a server said as text that a database takes.

    Bytes that are no UTF-8, which aiohttp hides in halves of surrogate pairs, are escaped as in the address that a
    redirect leads to.
    """
    return _STRAY.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", said)


def _words(said: str) -> str:
    """Put what a server said, or what is said of it, into one short line: it is kept for each address."""
    return " ".join(said.split())[:_LONGEST_WORDS]


async def _read(
    response: aiohttp.ClientResponse, headers: dict[str, str], url: URL, kind: Kind, max_bytes: int
) -> Body | Redirect | TooMany | Refusal:
    status = response.status
    if status in REDIRECTS and "location" in headers:
        return _redirect(url, headers["location"])
    refusal = _refusal_by_head(status, headers, kind, max_bytes)
    if refusal is not None:
        return refusal
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            if kind is Kind.ROBOTS:
                break
            return Refusal(Reason.TOO_MANY_BYTES, f"more than {max_bytes}")
    return Body(b"".join(chunks), str(url), headers)


def _redirect(url: URL, location: str) -> Redirect | Refusal:
    try:
        return Redirect(str(url.join(URL(location))))
    except NO_URL as error:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, _words(f"redirected to no URL: {error}"))


def _refusal_by_head(status: int, headers: dict[str, str], kind: Kind, max_bytes: int) -> TooMany | Refusal | None:
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in headers
    ):
        return TooMany(status, retry_after(headers.get("retry-after", "")))
    if status != HTTPStatus.OK:
        reason = Reason.HTTP_5XX if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Reason.HTTP_4XX
        return Refusal(reason, _phrase(status), status)
    encoding = headers.get("content-encoding", "")
    if encoding.strip().lower() not in {"", "identity"}:
        return Refusal(Reason.ENCODED_BODY, _words(encoding))
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes and kind is not Kind.ROBOTS:
        return Refusal(Reason.TOO_MANY_BYTES, f"{length}, more than {max_bytes}")
    if kind is Kind.IMAGE and opted_out(headers.get("x-robots-tag", "")):
        return Refusal(Reason.OPTED_OUT, _words(f"X-Robots-Tag: {headers['x-robots-tag']}"))
    return None


def retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None where it says nothing usable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "a status of its own"


_EXPECTED = (aiohttp.ClientError, OSError, TimeoutError, ValueError, ArithmeticError)
"""The last two: aiohttp raises it for headers and addresses that it cannot make a request or an answer of."""


def _refusal_of(error: Exception) -> Refusal:
    """Name what went wrong on the wire."""
    cause = getattr(error, "os_error", error)
    words = _words(_text(str(cause))) or type(error).__name__
    if isinstance(cause, BlockedAddressError):
        return Refusal(Reason.BLOCKED_ADDRESS, words)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Refusal(Reason.DNS_FAILURE, words)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Refusal(Reason.TLS_FAILURE, words)
    if isinstance(error, TimeoutError):
        return Refusal(Reason.TIMEOUT, words)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Refusal(Reason.SHORT_BODY, words)
    return Refusal(Reason.CONNECTION_FAILED, words)
