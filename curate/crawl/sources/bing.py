"""Bing's image search, read page by page: opt-in, because its terms and its robots.txt are not made for programs."""

from collections.abc import Iterator
from urllib.parse import quote_plus

from bs4.element import Tag
from icrawler.builtin.bing import BingFeeder, BingParser
from icrawler.utils import Signal

from curate.crawl.settings import BingSettings
from curate.crawl.sources.engine import (
    Reading,
    Response,
    ScrapedFinder,
    Task,
    clean,
    json_object,
    page_address,
    unescape,
)

_RESULTS = ".imgpt, a.iusc:not(.imgpt a)"
_READABLE = "a.iusc[m], .imgpt a[m]"
_CONTAINER = "[class*=dgControl]"
"""What holds the results, and is there without any as well."""
_KEPT = ("turl", "desc", "md5", "cid", "mid")


class BingFinder(ScrapedFinder):
    """Asks the pages that https://www.bing.com/images loads as one scrolls."""

    name = "bing"

    def __init__(self, settings: BingSettings) -> None:
        super().__init__(settings)
        self._parser = _Parser()

    def _address(self, query: str, start: int) -> str:
        # icrawler puts the words into the address as they are; Bing counts results from 1.
        return page_address(BingFeeder, self._url, keyword=quote_plus(query), offset=start + 1, max_num=1)

    def _read(self, response: Response) -> Reading:
        blocks = len(response.soup.select(_RESULTS))
        is_empty = not blocks and response.soup.select_one(_CONTAINER) is not None
        return Reading(self._parser.parse(response), blocks, blocks, is_empty)


class _Parser(BingParser):  # type: ignore[misc]  # icrawler ships no types
    """icrawler's parser, reading all that a result says, of files of any kind.

    What is said is JSON; where it is not, icrawler's own regular expression may still find a file.
    """

    def __init__(self) -> None:
        super().__init__(1, Signal(), None)

    def parse(self, response: Response) -> Iterator[Task]:
        for link in response.soup.select(_READABLE):
            said = json_object(str(link["m"]))
            if said is not None:
                yield _task(link, {key: clean(value) for key, value in said.items()})
            else:
                block = f'<div class="imgpt">{link}</div>'.encode("utf-8", "replace")
                yield from ({"file_url": unescape(task["file_url"])} for task in super().parse(Response(block)))


def _task(link: Tag, said: dict[str, str]) -> Task:
    extra = {key: said[key] for key in _KEPT if said.get(key)}
    block = link.find_parent(class_="imgpt")
    size = block.find("span", class_="nowrap") if block else None
    if size:
        extra["size"] = clean(size.get_text())
    return {
        "file_url": said.get("murl"),
        "page_url": said.get("purl"),
        "title": said.get("t"),
        "id": said.get("mid"),
        "extra": extra,
    }
