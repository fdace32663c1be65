"""What a source is: something that answers a question with addresses, a page at a time, and fetches no image itself.

A finder keeps nothing between two pages that it cannot do without: where to go on is in the question, which the crawl
keeps in the database. So a crawl that was killed asks for the page it had not seen yet, and no page twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from curate.crawl.fetch import Fetcher
from curate.crawl.wire import Seen
from curate.ingest.intake import Offer
from db.reasons import Refusal


class SourceError(Exception):
    """A source cannot go on with a question; what it found before stands."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and where in its answer to go on."""

    query: str
    """As the user knows it: words for a search, the address, file or folder for a list."""
    part: str = ""
    """A slice of the query, or one page of a site, in the source's own terms."""
    cursor: str = ""
    """What the page before said; as the question began, at its beginning."""
    seen: Seen = field(default_factory=Seen)
    """What the server said of this page when it was last read, so that it need not send it again."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer."""

    offers: Sequence[Offer] = ()
    cursor: str | None = None
    """Where the next page begins; None at the end."""
    more: Sequence[Question] = ()
    """Further questions that this page has led to: slices of a query, pages of a site."""
    seen: Seen = field(default_factory=Seen)


class Finder(Protocol):
    """One source."""

    name: str
    searches: bool
    """Whether it answers queries. If not, it is a list: it has what it has, and is read to its end."""
    most_questions: int | None
    """How many questions may come of one query; None for no limit."""

    def first(self, query: str) -> Question:
        """Give the question to begin with. A list is asked the empty query, and names itself."""

    async def page(self, question: Question, fetcher: Fetcher) -> Page:
        """Answer one page. Raises SourceError when it cannot."""
