"""Openverse: openly licensed images of many collections, through its API."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from curate.config import OpenverseSettings
from curate.crawl.fetch import Body, Fetcher, Kind
from curate.crawl.interface import SourceError
from curate.ingest.intake import Offer
from db.reasons import Reason, Refusal

_PAGE_SIZE = 20
"""More needs credentials."""
_MOST_PAGES = 12
"""The API shows 240 works a query, with or without credentials."""
_LONGEST_QUERY = 200
_PAGE_BYTES = 4_000_000


class OpenverseFinder:
    """Asks the API of https://api.openverse.org, or another address of the same kind."""

    name = "openverse"

    def __init__(self, settings: OpenverseSettings) -> None:
        self._url = settings.url

    async def find(self, query: str, fetcher: Fetcher) -> AsyncIterator[list[Offer]]:
        """Yield works that match `query`, twenty a page."""
        for page in range(1, _MOST_PAGES + 1):
            parameters = urlencode({"q": query[:_LONGEST_QUERY], "page": page, "page_size": _PAGE_SIZE})
            found = await fetcher.get(f"{self._url}/v1/images/?{parameters}", Kind.API, _PAGE_BYTES)
            if isinstance(found, Refusal):
                raise SourceError(found)
            answer = _parse(found)
            yield [_offer(work, query) for work in answer["results"] if work.get("url")]
            if page >= answer["page_count"]:
                return


def _parse(body: Body) -> dict[str, Any]:
    try:
        answer = json.loads(body.data)
    except ValueError:
        answer = None
    works = answer.get("results") if isinstance(answer, dict) else None
    if isinstance(works, list) and all(isinstance(work, dict) for work in works) and "page_count" in answer:
        return dict(answer)
    begin = body.data[:60].decode("utf-8", "replace")
    raise SourceError(Refusal(Reason.SOURCE_CHANGED, f"openverse answers in another form: {begin!r}"))


def _offer(work: dict[str, Any], query: str) -> Offer:
    def text(key: str) -> str:
        return str(work.get(key) or "")

    return Offer(
        address=text("url"),
        source=OpenverseFinder.name,
        query=query,
        name=urlsplit(text("url")).path.rpartition("/")[2],
        page_url=text("foreign_landing_url"),
        title=text("title"),
        creator=text("creator"),
        creator_url=text("creator_url"),
        licence=text("license"),
        licence_version=text("license_version"),
        licence_url=text("license_url"),
        attribution=text("attribution"),
        source_id=text("id"),
        extra={key: work[key] for key in ("provider", "source", "category", "mature", "tags") if work.get(key)},
    )
