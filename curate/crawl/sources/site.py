"""A whole site, page by page, as icrawler's greedy crawler reads it, within one host and as its owner allows.

icrawler's parser tells links to pages from links to pictures. Its weaknesses are mended around it: it misses relative
and lazily loaded pictures, resolves links against the host and not the page, takes any address that merely contains
the host's name for the host's own, and a query, a final slash or a bare host for the ending of a file. Its threads,
its queue in memory and its downloader are not used: each page is a question that the crawl keeps.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from mimetypes import MimeTypes
from urllib.parse import urljoin

from icrawler.builtin.greedy import GreedyParser
from icrawler.utils import Signal
from lxml import etree
from yarl import URL

from curate.crawl.fetch import Fetcher
from curate.crawl.guard import parse
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.robots import AGENT, directives
from curate.crawl.settings import SiteSettings
from curate.crawl.sources.engine import clean, file_name
from curate.crawl.wire import Body, Kind, Unchanged
from curate.ingest.intake import Offer
from db.reasons import Reason, Refusal

_PAGE_BYTES = 8_000_000
_MOST_TAGS = 20_000
"""Read of one page. The largest galleries have some thousand."""
_READ = {"a", "area", "base", "frame", "iframe", "img", "link", "meta"}
_LAZY = ("data-large_image", "data-src", "data-original", "data-lazy-src", "data-lazy", "src")
_SRCSETS = ("srcset", "data-srcset", "data-lazy-srcset")
_SHOWN_TO_OTHERS = {"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"}
_LEADS_ON = {"next", "prev", "canonical", "image_src"}
"""What a <link> must be for to be read: others are styles, icons and feeds."""
_NO_PICTURES = {"noindex", "none", "noai", "noimageai", "noimageindex"}
_NO_LINKS = {"nofollow", "none"}
_CHARSET = re.compile(rb"""<meta[^>]{1,200}?charset\s*=\s*["']?([\w-]{1,40})""", re.IGNORECASE)
_PARAMETER = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""")
"""In a Content-Type, whatever parameters follow it."""
_CODEC = re.compile(r"(utf-?8|iso-?8859|iso-?2022|windows|cp|koi8|gb|big5|shift|sjis|euc|latin|mac|tis)[\w-]*")
"""Not every codec of Python reads text, and some take hours for what others take seconds for."""
_SIZE = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)[wx]")
_SIZED = re.compile(r"(\s[0-9.]{1,9}[wx]),")
_PICTURE = re.compile(r"https?://\S+\.(avif|bmp|gif|jfif|jpe?g|png|tiff?|webp)$", re.IGNORECASE)
_PAGE_TYPES = {None, "text/html", "application/xhtml+xml"}

Attributes = Mapping[str, str]
Tags = list[tuple[str, Attributes]]


class SiteFinder:
    """Walks a site breadth first, from one address: every page is a question, and its cursor how deep it lies."""

    name = "site"
    searches = False

    def __init__(self, url: str, settings: SiteSettings) -> None:
        start = parse(url if "://" in url else f"https://{url}")
        self._start = url if isinstance(start, Refusal) else _page_address(start, start)
        self._max_depth = settings.max_depth
        self.most_questions: int | None = settings.max_pages
        self._parser = _Parser()

    def first(self, query: str) -> Question:  # noqa: ARG002 - a site answers no query
        """Begin with the address that was given, whatever the query."""
        return Question(self._start, self._start, "0")

    async def page(self, question: Question, fetcher: Fetcher) -> Page:
        """Give the pictures of one page, and the pages it links to.

        Raises SourceError where the first page cannot be read, and where another one may be readable later.
        """
        found = await fetcher.get(question.part, Kind.PAGE, _PAGE_BYTES, seen=question.seen)
        if isinstance(found, Unchanged):
            return Page(seen=question.seen)
        if isinstance(found, Refusal):
            if found.reason.passing or not _depth(question):
                raise SourceError(found)
            return Page()
        # A page of megabytes takes a second to read, in which other hosts' pictures go on coming.
        return await asyncio.to_thread(self._read, question, found)

    def _read(self, question: Question, body: Body) -> Page:
        start, here = parse(question.part), parse(body.url)
        if isinstance(start, Refusal) or isinstance(here, Refusal) or _site(start) != _site(here):
            return _led_away(question, body)
        kind = body.headers.get("content-type", "text/html").lower()
        if kind.startswith("image/"):
            return Page([_offer(question, str(here), str(here), "")], seen=body.seen)
        if "html" not in kind:
            return Page(seen=body.seen)
        tags = _tags(_text(body, kind))
        pictures, links = self._contents(tags, here)
        may_show, may_follow = _allowed(tags, body.headers.get("x-robots-tag", ""))
        offers = [_offer(question, address, str(here), words) for address, words in pictures.items()]
        deeper = _depth(question) + 1
        more = [Question(question.query, link, str(deeper)) for link in links] if may_follow else []
        if more and deeper > self._max_depth:
            return Page(offers if may_show else ())  # not `seen`: it must show its links should the limit be raised
        return Page(offers if may_show else (), more=more, seen=body.seen)

    def _contents(self, tags: Tags, here: URL) -> tuple[dict[str, str], list[str]]:
        """Give the pictures of a page, each with what is said of it, and the pages of the site that it links to."""
        base = next((_join(str(here), tag["href"]) for name, tag in tags if name == "base" and "href" in tag), "")
        base = base or str(here)
        pictures: dict[str, str] = {}
        for name, tag in tags:
            address = _picture(name, tag, base)
            if address:
                pictures[address] = pictures.get(address) or clean(tag.get("alt", ""))
        linked, links = self._parser.sort((_join(base, link) for link in _links(tags)), here)
        return pictures | {address: pictures.get(address, "") for address in linked}, links


class _Parser(GreedyParser):  # type: ignore[misc]  # icrawler ships no types
    """icrawler's parser, on links that it cannot misread, and strict about what belongs to the site."""

    def __init__(self) -> None:
        super().__init__(1, Signal(), None)
        self.pattern = _PICTURE
        self._types = MimeTypes()

    def is_in_domain(self, url: str, domains: list[str]) -> bool:
        return _site(URL(url)) in domains

    def sort(self, links: Iterable[str], here: URL) -> tuple[list[str], list[str]]:
        """Tell the pictures from the pages of the same site; what is neither is left out."""
        by_shown: dict[str, dict[str, None]] = {}
        for link in filter(None, links):
            by_shown.setdefault(self._shown(URL(link)), {})[link] = None
        page = _Response("".join(f'<a href="{escape(shown)}"></a>' for shown in by_shown).encode(), str(here))
        pictures, pages = dict[str, None](), dict[str, None]()
        for found in self.parse(page, [_site(here)]):
            if isinstance(found, dict):
                pictures |= by_shown.get(found["file_url"], {})
            else:
                # With and without www, by http and https: all of it is one site, and each page of it one page.
                pages |= {_page_address(here, URL(link)): None for link in by_shown.get(found, {})}
        return list(pictures), list(pages)

    def _shown(self, link: URL) -> str:
        """Write a link so that its ending tells icrawler what it is. `File:x.jpg` is a wiki's page about a picture."""
        address = f"{link.origin()}{link.raw_path}"
        is_file = _PICTURE.match(address) or self._types.guess_type(link.name)[0] not in _PAGE_TYPES
        return address if is_file and ":" not in link.name else f"{link.origin()}/page.html"


@dataclass(frozen=True)
class _Response:
    """What icrawler's parser expects of one."""

    content: bytes
    url: str


class _Reader:
    """Takes in the tags of a page as they are parsed. No tree: what is huge or broken costs no memory."""

    def __init__(self) -> None:
        self._tags: Tags = []
        self._sources: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        """Keep a tag that may matter. What a <picture> offers is kept with its <img>."""
        if name == "picture":
            self._sources = []
        elif name == "source":
            self._sources += [attributes[key] for key in _SRCSETS if key in attributes]
        elif name in _READ and len(self._tags) < _MOST_TAGS:
            tag = dict(attributes)
            if name == "img":
                sets = [tag.get(key, "") for key in _SRCSETS]
                tag["srcset"], self._sources = ", ".join(filter(None, [*sets, *self._sources])), []
            self._tags.append((name, tag))

    def end(self, name: str) -> None:
        """Forget what only a <picture> that ends here has offered."""
        if name == "picture":
            self._sources = []

    def close(self) -> Tags:
        """Give what was kept, in order."""
        return self._tags


def _tags(text: str) -> Tags:
    reader = _Reader()
    parser = etree.HTMLParser(target=reader, encoding="utf-8")
    try:
        # NUL would end the page there and then.
        parser.feed(text.replace("\0", "").encode("utf-8", "replace"))
        parser.close()
    except etree.LxmlError:
        pass  # what came before it counts
    return reader.close()


def _text(body: Body, kind: str) -> str:
    """Decode a page as it says itself, or as its server does; what cannot be read is replaced."""
    if body.data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body.data.decode("utf-16", "replace")
    declared = _CHARSET.search(body.data[:4096])
    told = _PARAMETER.search(kind)
    said = told[1] if told else (declared[1].decode("ascii", "replace") if declared else "")
    try:
        return body.data.decode(said if _CODEC.fullmatch(said.lower()) else "utf-8", "replace")
    except LookupError:
        return body.data.decode("utf-8", "replace")


def _allowed(tags: Tags, header: str) -> tuple[bool, bool]:
    """Whether the owner of a page lets its pictures be taken, and its links be followed."""
    metas = (tag.get("content", "") for name, tag in tags if name == "meta" and _name(tag) in {"robots", AGENT})
    words = directives(header).union(re.split(r"[,\s]+", ",".join(metas).lower()))
    return not words & _NO_PICTURES, not words & _NO_LINKS


def _name(meta: Attributes) -> str:
    return (meta.get("name") or meta.get("property") or "").strip().lower()


def _links(tags: Tags) -> Iterator[str]:
    for name, tag in tags:
        about = set(tag.get("rel", "").lower().split())
        if name in {"frame", "iframe"}:
            yield tag.get("src", "")
        elif (name in {"a", "area"} and "nofollow" not in about) or (name == "link" and about & _LEADS_ON):
            yield tag.get("href", "")


def _picture(name: str, tag: Attributes, base: str) -> str:
    """Address of the picture that a tag shows, in its largest version; empty where it shows none."""
    if name == "meta" and _name(tag) in _SHOWN_TO_OTHERS:
        return _join(base, tag.get("content", ""))
    if name != "img":
        return ""
    versions = sorted(_versions(tag["srcset"]), key=lambda version: -version[0])
    links = [link for _, link in versions] + [tag[key] for key in _LAZY if key in tag]
    # What stands there until the real one is loaded is a `data:` URL, which _join makes nothing of.
    return next(filter(None, (_join(base, link) for link in links)), "")


def _versions(srcset: str) -> Iterator[tuple[float, str]]:
    """Give size and address of each version in a srcset. A comma inside an address does not end it."""
    for version in re.split(r",\s", _SIZED.sub(r"\1, ", srcset)):
        link, *sizes = version.split() or [""]
        size = _SIZE.fullmatch(sizes[0].strip(",")) if sizes else None
        yield float(size[1]) if size else 1.0, link.strip(",")


def _join(base: str, link: str) -> str:
    """Write a link in full, without its fragment; empty where it is none to the web, or to its own page."""
    link = link.partition("#")[0].strip()
    try:
        url = parse(urljoin(base, link)) if link else Refusal(Reason.SCHEME_NOT_ALLOWED)
    except ValueError:
        return ""
    return "" if isinstance(url, Refusal) else str(url)


def _site(url: URL) -> str:
    """What all addresses of a site have in common."""
    return f"{(url.host or '').removeprefix('www.')}:{url.explicit_port or ''}"


def _page_address(here: URL, link: URL) -> str:
    return f"{here.origin()}{link.raw_path_qs}"


def _depth(question: Question) -> int:
    return int(question.cursor or 0)


def _led_away(question: Question, body: Body) -> Page:
    if _depth(question):
        return Page()
    raise SourceError(Refusal(Reason.SOURCE_CHANGED, f"it leads to {body.url}, another site; name that one instead"))


def _offer(question: Question, address: str, page: str, words: str) -> Offer:
    return Offer(
        address=address,
        source=SiteFinder.name,
        query=question.query,
        name=file_name(address),
        page_url=page,
        title=words,
    )
