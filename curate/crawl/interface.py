"""What a source is: something that finds addresses for a query, page by page, and fetches no image itself."""

from collections.abc import AsyncIterator
from typing import Protocol

from curate.crawl.fetch import Fetcher
from curate.ingest.intake import Offer
from db.reasons import Refusal


class SourceError(Exception):
    """A source cannot go on with a query; what it found before stands."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Finder(Protocol):
    """One source."""

    name: str

    def find(self, query: str, fetcher: Fetcher) -> AsyncIterator[list[Offer]]:
        """Yield what the source has for `query`, one list a page. Raises SourceError when it cannot go on."""
