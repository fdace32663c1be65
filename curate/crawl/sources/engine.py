"""What search engines have in common that are read page by page, as a browser reads them.

icrawler's feeders say where a page is, its parsers what is on it, and our fetcher brings it: its threads, sessions and
downloader stay out. An engine promises nobody the form of its pages, so one that cannot be read is told, never taken
for an empty one.
"""

import hashlib
import json
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import Any, Self
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from bs4.exceptions import ParserRejectedMarkup
from icrawler.feeder import Feeder
from icrawler.utils import Signal

from curate.crawl.fetch import Fetcher
from curate.crawl.guard import parse
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.settings import BingSettings, GoogleSettings
from curate.crawl.wire import Body, Kind
from curate.ingest.intake import Offer
from db.reasons import Reason, Refusal

_PAGE_BYTES = 8_000_000
_MOST_RESULTS = 1000
"""No engine shows more of one query; asked for more, they show the last page again."""
_CURSOR = re.compile(r"([0-9]{1,6}) ([0-9a-f]*)")
_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_WALL = re.compile(
    rb"""action="https?://consent\.|(?:id|class)="captcha|/turing/captcha|/sorry/index|unusual traffic from""",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")

Task = dict[str, Any]
"""As icrawler's parsers give one: the picture is its `file_url`; `page_url`, `title`, `id` and `extra` are ours."""


@dataclass(frozen=True)
class Response:
    """What icrawler's parsers expect of a page, and what it is read into."""

    content: bytes

    @cached_property
    def soup(self) -> BeautifulSoup:
        """The page as HTML, whatever it is."""
        with warnings.catch_warnings(action="ignore"):  # that it looks like XML, a URL or a file name
            try:
                return BeautifulSoup(self.content.decode("utf-8", "replace"), "lxml")
            except ParserRejectedMarkup:
                return BeautifulSoup("", "lxml")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser makes of a page."""

    tasks: Iterable[Task]
    results: int
    """Results that stand on the page, whether or not they can be read."""
    step: int
    """How much further the next page begins."""
    is_empty: bool
    """Whether the page says itself that it has no results."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins, and what the page before it showed."""

    start: int = 0
    mark: str = ""

    @classmethod
    def of(cls, cursor: str) -> Self:
        found = _CURSOR.fullmatch(cursor)
        return cls(int(found[1]), found[2]) if found else cls()

    def __str__(self) -> str:
        return f"{self.start} {self.mark}"


class ScrapedFinder(ABC):
    """An engine whose pages of results are read."""

    name: str
    searches = True
    most_questions: int | None = 1

    def __init__(self, settings: BingSettings | GoogleSettings) -> None:
        self._url = settings.url
        self._ignore_robots = settings.ignore_robots

    def first(self, query: str) -> Question:
        """Begin with the first result."""
        return Question(query)

    async def page(self, question: Question, fetcher: Fetcher) -> Page:
        """Give the pictures on one page of results. Raises SourceError where the page cannot be read."""
        place = _Place.of(question.cursor)
        address = self._address(clean(question.query), place.start)
        body = await ask(fetcher, address, Kind.PAGE, ignore_robots=self._ignore_robots)
        reading = self._read(Response(body.data))
        offers = _offers(reading.tasks, self.name, question.query)
        if not offers:
            return self._end(reading, body.data, place)
        mark = _mark(offers)
        if mark == place.mark:
            return Page()
        start = place.start + reading.step
        return Page(offers, str(_Place(start, mark)) if start < _MOST_RESULTS else None)

    @abstractmethod
    def _address(self, query: str, start: int) -> str:
        """Where the page is that begins after so many results."""

    @abstractmethod
    def _read(self, response: Response) -> Reading:
        """Find the results on a page, whatever it holds."""

    def _end(self, reading: Reading, data: bytes, place: _Place) -> Page:
        """Tell the end of an answer from a page that shows something else."""
        if reading.is_empty:
            return Page()
        if _WALL.search(data):
            raise changed(f"{self.name} wants a person: it shows a consent or captcha page", data)
        if place.start and not reading.results:
            return Page()
        raise changed(f"{self.name} shows no result that can be recognised", data)


def page_address(feeder: type[Feeder], base: str, **search: object) -> str:
    """Where icrawler's feeder finds the first page of a search, on the host of `base`."""
    feeding = feeder(1, Signal(), None)
    feeding.out_queue = SimpleQueue()  # icrawler's own holds five addresses, and would wait for a parser at the sixth
    feeding.feed(**search)
    parts = urlsplit(feeding.out_queue.get_nowait())
    return f"{base.rstrip('/')}{parts.path}?{parts.query}"


async def ask(fetcher: Fetcher, address: str, kind: Kind, *, ignore_robots: bool = False) -> Body:
    """Fetch one page of an answer. Raises SourceError."""
    found = await fetcher.get(address, kind, _PAGE_BYTES, ignore_robots=ignore_robots)
    if isinstance(found, Refusal):
        raise SourceError(found)
    return found


def changed(what: str, data: bytes) -> SourceError:
    """An answer that cannot be read: what is wrong, and how the page calls itself."""
    text = clean(data[:100_000].decode("utf-8", "replace"))
    title = _TITLE.search(text)
    return SourceError(Refusal(Reason.SOURCE_CHANGED, f"{what}; it begins {(title[1] if title else text)[:60]!r}"))


def json_object(text: str) -> dict[str, Any] | None:
    """Read a JSON object; None for anything else, such as brackets nested beyond what the reader can follow."""
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def clean(value: object) -> str:
    """Bring text to what every database takes; empty for what is no text.

    JSON can carry halves of surrogate pairs and NUL, and Bing marks the words searched for with private characters.
    """
    if not isinstance(value, str):
        return ""
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return re.sub("[\0\ue000\ue001]", "", whole).strip()


def unescape(text: str) -> str:
    r"""Undo the escapes of a JavaScript string, `\u003d` and `\x3d`, once or twice applied; what is none stays."""
    plain = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    return clean(plain.replace("\\/", "/").replace('\\"', '"'))


def _offers(tasks: Iterable[Task], source: str, query: str) -> list[Offer]:
    """Make an offer of each picture that can be fetched at all, once. No engine knows a licence."""
    found: dict[str, Offer] = {}
    for task in tasks:
        address = clean(task["file_url"])
        if address not in found and is_web(address):
            found[address] = _offer(task, address, source, query)
    return list(found.values())


def _offer(task: Task, address: str, source: str, query: str) -> Offer:
    return Offer(
        address=address,
        source=source,
        query=query,
        name=file_name(address),
        page_url=clean(task.get("page_url")),
        title=clean(task.get("title")),
        source_id=clean(task.get("id")),
        extra=task.get("extra", {}),
    )


def is_web(address: str) -> bool:
    """Whether an address can be asked for at all."""
    return not isinstance(parse(address), Refusal)


def file_name(address: str) -> str:
    """Last part of the path of an address."""
    url = parse(address)
    return "" if isinstance(url, Refusal) else clean(url.name)


def _mark(offers: Sequence[Offer]) -> str:
    addresses = "\n".join(sorted(offer.address for offer in offers))
    return hashlib.sha256(addresses.encode()).hexdigest()[:16]
