"""A whole site, page by page, as icrawler's greedy crawler reads it, within one host and as its robots.txt allows.

icrawler's parser finds the links. Its weaknesses are mended around it: it misses relative and extension-less pictures,
resolves links against the host and not the page, takes any address that merely contains the host's name for the
host's own, and its threads and memory-only queue are replaced by a plain walk through our fetcher.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin, urlsplit

from bs4 import BeautifulSoup
from bs4.element import Tag
from icrawler.builtin.greedy import GreedyParser
from icrawler.utils import Signal

from curate.config import SiteSettings
from curate.crawl.fetch import Body, Fetcher, Kind
from curate.crawl.guard import parse
from curate.crawl.interface import SourceError
from curate.ingest.intake import Offer
from db.reasons import Refusal

_PAGE_BYTES = 8_000_000
_LAZY = ("src", "data-src", "data-original", "data-lazy-src")


@dataclass(frozen=True)
class _Page:
    """What icrawler's parser expects of a response."""

    content: bytes
    url: str


class _Parser(GreedyParser):  # type: ignore[misc]  # icrawler ships no types
    """icrawler's parser, on pages whose links are absolute, and strict about what belongs to the host."""

    def __init__(self) -> None:
        super().__init__(1, Signal(), None)

    def is_in_domain(self, url: str, domains: list[str]) -> bool:
        return urlsplit(url).netloc in domains


class SiteFinder:
    """Walks a site breadth first, from one address."""

    name = "site"

    def __init__(self, url: str, settings: SiteSettings) -> None:
        self._start = url if "://" in url else f"https://{url}"
        self._settings = settings
        self._parser = _Parser()

    async def find(self, query: str, fetcher: Fetcher) -> AsyncIterator[list[Offer]]:  # noqa: ARG002 - a site answers no query
        """Yield the pictures of each page, whatever the query."""
        start = parse(self._start)
        if isinstance(start, Refusal):
            raise SourceError(start)
        host = start.netloc.decode("ascii")
        waiting = deque([(self._start, 0)])
        known = {self._start}
        for _ in range(self._settings.max_pages):
            if not waiting:
                return
            url, depth = waiting.popleft()
            body = await fetcher.get(url, Kind.PAGE, _PAGE_BYTES)
            if isinstance(body, Refusal):
                if depth == 0:
                    raise SourceError(body)
                continue
            pictures, links = self._read(body, host)
            yield [self._offer(picture, body.url) for picture in pictures]
            if depth < self._settings.max_depth:
                for link in links:
                    if link not in known:
                        known.add(link)
                        waiting.append((link, depth + 1))

    def _read(self, body: Body, host: str) -> tuple[list[str], list[str]]:
        """Give the pictures and the pages of the same host that a page links to, each once, in order."""
        if "html" not in body.headers.get("content-type", "html"):
            return [], []
        soup = BeautifulSoup(body.data, "lxml")
        pictures = dict.fromkeys(_make_absolute(soup, body.url))
        links: dict[str, None] = {}
        for found in self._parser.parse(_Page(str(soup).encode(), body.url), [host]):
            if isinstance(found, dict):
                pictures[found["file_url"]] = None
            else:
                links[urldefrag(found).url] = None
        return list(pictures), list(links)

    def _offer(self, address: str, page: str) -> Offer:
        return Offer(
            address=address,
            source=self.name,
            query=self._start,
            name=urlsplit(address).path.rpartition("/")[2],
            page_url=page,
        )


def _make_absolute(soup: BeautifulSoup, base: str) -> Iterator[str]:
    """Rewrite every link as seen from its page, and give the picture of every <img>, however it is loaded."""
    for tag in soup.find_all(href=True):
        if isinstance(tag, Tag):
            tag["href"] = _join(base, str(tag["href"]))
    for tag in soup.find_all("img"):
        if isinstance(tag, Tag):
            address = _largest(tag, base)
            tag["src"] = address
            if urlsplit(address).scheme in {"http", "https"}:
                yield address


def _largest(tag: Tag, base: str) -> str:
    """Address of the largest version that an <img> offers: the last of its srcset, else what it loads lazily or now."""
    versions = [part.split()[0] for part in str(tag.get("srcset", "")).split(", ") if part.split()]
    plain = [str(tag[name]) for name in reversed(_LAZY) if tag.get(name)]
    return _join(base, (versions[-1:] or plain or [""])[0])


def _join(base: str, link: str) -> str:
    try:
        return urldefrag(urljoin(base, link.strip())).url
    except ValueError:
        return ""
