"""Google's image search, read page by page: opt-in, because its terms and its robots.txt are not made for programs."""

import re
from collections.abc import Iterator

from icrawler.builtin.google import GoogleFeeder, GoogleParser
from icrawler.utils import Signal

from curate.crawl.guard import parse
from curate.crawl.settings import GoogleSettings
from curate.crawl.sources.engine import Reading, Response, ScrapedFinder, Task, page_address, unescape
from db.reasons import Refusal

_PAGE_SIZE = 100
_FILE = re.compile(r'\["(https?:[^"\s]{1,4000})"\s{0,9},\s{0,9}(\d{1,6})\s{0,9},\s{0,9}(\d{1,6})\s{0,9}\]')
"""A file, its height and its width: so the thumbnail of a result is given, and after it the picture."""
_SHOWN_ON = re.compile(r'"2003":\[null,"[^"]{0,200}","(https?:[^"\s]{1,4000})","((?:[^"\\]|\\.){0,2000})"')
"""The page of a picture, and its title, in what follows the picture."""
_OWN = re.compile(r"(?:^|\.)(?:gstatic\.com|google(?:\.[a-z]{2,3}){1,2})$")
_NONE = re.compile(rb"did not match any (?:image results|documents)")


class GoogleFinder(ScrapedFinder):
    """Asks https://www.google.com/search for images."""

    name = "google"

    def __init__(self, settings: GoogleSettings) -> None:
        super().__init__(settings)
        self._parser = _Parser()

    def _address(self, query: str, start: int) -> str:
        return page_address(GoogleFeeder, self._url, keyword=query, offset=start, max_num=1)

    def _read(self, response: Response) -> Reading:
        tasks = list(self._parser.parse(response))
        return Reading(tasks, len(tasks), _PAGE_SIZE, _NONE.search(response.content) is not None)


class _Parser(GoogleParser):  # type: ignore[misc]  # icrawler ships no types
    """icrawler's parser, reading results and not whatever ends in .jpg.

    Its regular expression takes Google's own files, cuts addresses at their ending, stops at the first script that has
    any, raises on odd escapes, is quadratic (18 s for 80 kB made to hurt it), and for a page without files gives None.
    """

    def __init__(self) -> None:
        super().__init__(1, Signal(), None)

    def parse(self, response: Response) -> Iterator[Task]:
        for script in response.soup.find_all("script"):
            yield from _tasks(script.get_text())


def _tasks(text: str) -> Iterator[Task]:
    files = [found for found in _FILE.finditer(text) if _is_foreign(unescape(found[1]))]
    starts = [*(found.start() for found in files), len(text)]
    for found, end in zip(files, starts[1:], strict=True):
        shown_on = _SHOWN_ON.search(text, found.end(), end)
        yield {
            "file_url": unescape(found[1]),
            "page_url": unescape(shown_on[1]) if shown_on else "",
            "title": unescape(shown_on[2]) if shown_on else "",
            "extra": {"height": int(found[2]), "width": int(found[3])},
        }


def _is_foreign(address: str) -> bool:
    url = parse(address)
    return not isinstance(url, Refusal) and _OWN.search(url.host or "") is None
