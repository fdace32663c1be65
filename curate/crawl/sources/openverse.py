"""Openverse: openly licensed images of many collections, through its API.

It shows 240 works of a query. A query that has more is asked again in slices that together hold all of it: by licence,
a licence with more than that by size, and so on.
"""

import asyncio
import math
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.settings import OpenverseSettings
from curate.crawl.sources.engine import changed, clean, file_name, json_object
from curate.crawl.wire import Body, Kind
from curate.ingest.intake import Offer
from curate.rights import attribution, identify
from db.reasons import Reason, Refusal

MOST_WORKS = 240
"""Of one query, with or without credentials. No count that the API gives is higher: 240 means as many or more."""
PAGE_SIZE = 20
"""Without credentials; more is a 401."""
PAGE_SIZE_WITH_CREDENTIALS = 48
"""The API gives up to 50, and no page that ends beyond 240: the fifth of 50 would be a 401."""
_LONGEST_QUERY = 200
_PAGE_BYTES = 4_000_000
_SLICES = {
    "license": ("by", "by-sa", "by-nc", "by-nc-sa", "by-nc-nd", "by-nd", "cc0", "pdm", "sampling+", "nc-sampling+"),
    "size": ("large", "medium", "small"),
    "aspect_ratio": ("wide", "tall", "square"),
    "category": ("photograph", "illustration", "digitized_artwork"),
}
"""By what a query is cut, in this order: every work has a licence, most have a size, and with it an aspect ratio.
A work without a size or a category is found only among the 240 of the slice that was cut."""
_KEPT = (
    *("provider", "source", "category", "mature", "filetype", "filesize", "width", "height"),
    *("license", "license_version", "detail_url"),
)
_KEPT_OF_TAG = ("name", "accuracy", "unstable__provider")
_MOST_TAGS = 200

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_RENEWED_EARLY_SECONDS = 60.0
_DEFAULT_LIFETIME_SECONDS = 3600.0
_LONGEST_LIFETIME_SECONDS = 366 * 86400.0


class OpenverseFinder:
    """Asks the API of https://api.openverse.org, or another address of the same kind."""

    name = "openverse"
    searches = True
    most_questions: int | None = None

    def __init__(self, settings: OpenverseSettings, credentials: tuple[str, str] | None) -> None:
        self._url = settings.url
        self._access = _Access(settings.url, credentials) if credentials else None
        self._page_size = PAGE_SIZE_WITH_CREDENTIALS if credentials else PAGE_SIZE

    def first(self, query: str) -> Question:
        """Begin with the whole query."""
        return Question(query)

    async def page(self, question: Question, fetcher: Fetcher) -> Page:
        """Give one page of works, and with the first of many the slices to go on with. Raises SourceError."""
        # The cursor counts works: pages are larger with credentials, which may come and go between two runs.
        start = int(question.cursor) if re.fullmatch("[0-9]{1,3}", question.cursor) else 0
        number = start // self._page_size + 1
        body = await self._ask(self._address(question, number), fetcher)
        answer = _answer(body.data)
        offers = _offers(answer["results"], question.query, body.data)
        end = number * self._page_size
        last = min(answer["page_count"], MOST_WORKS // self._page_size)
        is_cut = start == 0 and answer["result_count"] >= MOST_WORKS
        more = tuple(_slices(question)) if is_cut else ()
        return Page(offers, str(end) if offers and number < last else None, more)

    def _address(self, question: Question, number: int) -> str:
        words = {"q": clean(question.query)[:_LONGEST_QUERY], "page": number, "page_size": self._page_size}
        return f"{self._url}/v1/images/?{urlencode(words | _cuts(question.part))}"

    async def _ask(self, address: str, fetcher: Fetcher) -> Body:
        if self._access is None:
            return _whole(await fetcher.get(address, Kind.API, _PAGE_BYTES))
        token = await self._access.token(fetcher)
        found = await fetcher.get(address, Kind.API, _PAGE_BYTES, headers=_bearer(token))
        if isinstance(found, Refusal) and found.http_status == HTTPStatus.UNAUTHORIZED:
            # Taken back before its time. A second refusal is the user's to hear.
            token = await self._access.token(fetcher, instead_of=token)
            found = await fetcher.get(address, Kind.API, _PAGE_BYTES, headers=_bearer(token))
        return _whole(found)


class _Access:
    """A token for credentials, got when it is first asked for, and anew before it runs out."""

    def __init__(self, url: str, credentials: tuple[str, str]) -> None:
        self._url = f"{url}/v1/auth_tokens/token/"
        self._credentials = credentials
        self._token = ""
        self._renew_at = 0.0
        self._lock = asyncio.Lock()

    async def token(self, fetcher: Fetcher, instead_of: str = "") -> str:
        """Give a token that is good for a while, another one than `instead_of`. Raises SourceError."""
        async with self._lock:  # several classes may be searched for side by side
            if self._token in {"", instead_of} or time.monotonic() >= self._renew_at:
                await self._renew(fetcher)
            return self._token

    async def _renew(self, fetcher: Fetcher) -> None:
        name, secret = self._credentials
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        found = await fetcher.get(self._url, Kind.API, _PAGE_BYTES, form=form)
        if isinstance(found, Refusal) and found.reason is Reason.HTTP_4XX:
            words = f"{found.detail}; openverse does not take CURATE_OPENVERSE_CLIENT_ID and its secret"
            raise SourceError(replace(found, detail=words))
        answer = json_object(_text(_whole(found).data)) or {}
        token = answer.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            # Nothing of the answer is shown: it may hold a token after all.
            raise SourceError(Refusal(Reason.SOURCE_CHANGED, "openverse gives tokens in another form"))
        self._token = token
        self._renew_at = time.monotonic() + _lifetime(answer.get("expires_in")) - _RENEWED_EARLY_SECONDS


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _lifetime(said: object) -> float:
    if isinstance(said, int | float) and 0 <= said <= _LONGEST_LIFETIME_SECONDS:
        return float(said)
    return _DEFAULT_LIFETIME_SECONDS


def _whole(found: Body | Refusal) -> Body:
    if isinstance(found, Refusal):
        raise SourceError(found)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _cuts(part: str) -> dict[str, str]:
    """Read what a slice is cut by."""
    return {name: value for name, value in parse_qsl(part) if value in _SLICES.get(name, ())}


def _slices(question: Question) -> Iterator[Question]:
    """Cut a question by the first thing that it is not cut by yet; what is cut by everything stays whole."""
    cuts = _cuts(question.part)
    for name in [name for name in _SLICES if name not in cuts][:1]:
        for value in _SLICES[name]:
            yield Question(question.query, urlencode(cuts | {name: value}))


def _answer(data: bytes) -> dict[str, Any]:
    """Read an answer. Raises SourceError for one of another form."""
    answer = json_object(_text(data)) or {}
    counts = [answer.get(key) for key in ("result_count", "page_count")]
    are_counts = all(isinstance(count, int) and not isinstance(count, bool) for count in counts)
    if not are_counts or not isinstance(answer.get("results"), list):
        raise changed("openverse answers in another form", data)
    return answer


def _offers(works: list[Any], query: str, data: bytes) -> list[Offer]:
    """Offer each work that can be read. Raises SourceError if there are some, and none can."""
    found = [_offer(work, query) for work in works if isinstance(work, dict) and clean(work.get("url"))]
    if works and not found:
        raise changed("openverse describes its works in another form", data)
    return found


def _offer(work: dict[str, Any], query: str) -> Offer:
    said = {key: clean(value) for key, value in work.items()}
    licence_said = " ".join(filter(None, (said.get("license"), said.get("license_version"))))
    licence_url, page_url = said.get("license_url", ""), said.get("foreign_landing_url", "")
    licence = identify(licence_said, url=licence_url)
    title, creator = said.get("title", ""), said.get("creator", "")
    return Offer(
        address=said["url"],
        source=OpenverseFinder.name,
        query=query,
        name=file_name(said["url"]),
        page_url=page_url,
        title=title,
        creator=creator,
        creator_url=said.get("creator_url", ""),
        licence=licence,
        licence_said=licence_said,
        licence_url=licence_url,
        attribution=said.get("attribution") or attribution(title, creator, licence, licence_url, page_url),
        source_id=said.get("id", ""),
        extra=_snapshot(work),
    )


def _snapshot(work: dict[str, Any]) -> dict[str, Any]:
    """Keep what is said of a work today: the API does not vouch for it, and may say something else tomorrow."""
    tags = work["tags"][:_MOST_TAGS] if isinstance(work.get("tags"), list) else []
    kept = [_scalars(tag, _KEPT_OF_TAG) for tag in tags if isinstance(tag, dict)]
    return _scalars(work, _KEPT) | ({"tags": kept} if kept else {})


def _scalars(said: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Keep what is text, a number or a truth value, and nothing that a database could not hold."""
    values = {key: clean(value) if isinstance(value := said.get(key), str) else value for key in keys}
    return {key: value for key, value in values.items() if _is_kept(value)}


def _is_kept(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
