"""Wikimedia Commons, through its API: pictures with what their description pages say, in templates and in HTML."""

import asyncio
import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlencode

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.settings import CommonsSettings
from curate.crawl.sources.engine import ask, changed, clean, json_object
from curate.crawl.sources.html_text import absolute, first_link, plain
from curate.crawl.wire import Body, Kind
from curate.ingest.intake import Offer
from curate.rights import RESERVED, attribution, identify
from db.reasons import Reason, Refusal

_PAGE_SIZE = 50
_ASKED = {
    "action": "query",
    "format": "json",
    "formatversion": "2",
    "generator": "search",
    "gsrnamespace": "6",
    "gsrlimit": str(_PAGE_SIZE),
    "prop": "imageinfo",
    "iiprop": "url|size|mime|sha1|extmetadata",
    "maxlag": "5",
}
_WITHOUT_RESULTS = {"batchcomplete", "continue", "curtimestamp", "limits", "requestid", "servedby", "warnings"}
"""What an answer may hold beside `query`, which is left out where nothing was found."""
_BUSY = {"cirrussearch-too-busy-error", "maxlag", "ratelimited"}
_WAITS = (5.0, 15.0, None)
"""Seconds before it is asked again when it is busy, which it says itself and which seldom lasts; then it is enough."""
_LONGEST_QUERY = 250
"""CirrusSearch refuses more than 300 characters, `filetype:bitmap` among them."""
_CONTINUATION = re.compile("[a-z]{1,30}")
_EARLIER_VERSIONS = "iistart"
"""A file that is found alone could be continued with its own history; we want the newest version only."""
_KEPT_OF_FILE = ("url", "size", "width", "height", "sha1", "mime")
_KEPT_OF_PAGE = (
    *("License", "LicenseShortName", "UsageTerms", "AttributionRequired", "Copyrighted", "NonFree", "Restrictions"),
    *("Credit", "Attribution"),
)


class CommonsFinder:
    """Asks the API of https://commons.wikimedia.org, or of another MediaWiki with the same extensions."""

    name = "commons"
    searches = True
    most_questions: int | None = 1

    def __init__(self, settings: CommonsSettings) -> None:
        self._settings = settings

    def first(self, query: str) -> Question:
        """Begin with the best match."""
        return Question(query)

    async def page(self, question: Question, fetcher: Fetcher) -> Page:
        """Give fifty pictures, the best match first. Raises SourceError where Commons gives none."""
        for seconds in _WAITS:
            body, answer = await self._ask(question, fetcher)
            if "error" not in answer:
                break
            fault = _fault(answer["error"])
            if fault.reason is not Reason.RATE_LIMITED or seconds is None:
                raise SourceError(fault)
            await asyncio.sleep(seconds)
        pages, cursor = _pages(answer, body.data), _cursor(answer.get("continue"))
        offers = [offer for offer in (self._offer(page, question.query) for page in pages) if offer is not None]
        if not offers and not cursor and not all(_has_no_file(page) for page in pages):
            raise changed("commons describes its files in another form", body.data)
        # A continuation that leads back to where it was given would be followed for ever.
        return Page(offers, cursor if cursor and cursor != question.cursor else None)

    async def _ask(self, question: Question, fetcher: Fetcher) -> tuple[Body, dict[str, Any]]:
        body = await ask(fetcher, self._address(question), Kind.API)
        answer = json_object(body.data.decode("utf-8", "replace"))
        if answer is None:
            raise changed("commons answers in another form", body.data)
        return body, answer

    def _address(self, question: Question) -> str:
        words = clean(question.query)[:_LONGEST_QUERY]
        asked = _ASKED | {"gsrsearch": f"filetype:bitmap {words}"}
        if self._settings.width:
            asked["iiurlwidth"] = str(self._settings.width)
        return f"{self._settings.url}?{urlencode(dict(parse_qsl(question.cursor)) | asked)}"

    def _offer(self, page: dict[str, Any], query: str) -> Offer | None:
        """Offer a file as far as it is described; None where not even its address is."""
        file, said = _file(page), _said(_file(page))
        original = absolute(clean(file.get("url")))
        if not original:
            return None
        name = clean(page.get("title")).removeprefix("File:")
        title = plain(said.get("ObjectName", "")) or PurePosixPath(name).stem
        creator, page_url = plain(said.get("Artist", "")), absolute(clean(file.get("descriptionurl")))
        licence_said, licence_url = said.get("LicenseShortName", ""), absolute(said.get("LicenseUrl", ""))
        licence = _licence(said, licence_url)
        credit = attribution(title, plain(said.get("Attribution", "")) or creator, licence, licence_url, page_url)
        return Offer(
            address=self._address_of(file) or original,
            source=self.name,
            query=query,
            name=name,
            page_url=page_url,
            title=title,
            creator=creator,
            creator_url=first_link(said.get("Artist", "")),
            licence=licence,
            licence_said=plain(licence_said or said.get("UsageTerms", "") or said.get("License", "")),
            licence_url=licence_url,
            attribution="" if said.get("AttributionRequired", "").casefold() == "false" else credit,
            source_id=_text(page.get("pageid")),
            extra=_snapshot(file, said),
        )

    def _address_of(self, file: dict[str, Any]) -> str:
        """Where a scaled copy of a file is that is wider than wanted; empty where there is none."""
        width = self._settings.width
        return absolute(clean(file.get("thumburl"))) if 0 < width < _number(file.get("width")) else ""


def _fault(error: object) -> Refusal:
    """Read what the API says of a failure, which it sends as if it were a success."""
    said = error if isinstance(error, dict) else {}
    code, words = clean(said.get("code")), clean(said.get("info"))[:200]
    if code in _BUSY:
        return Refusal(Reason.RATE_LIMITED, f"commons is busy ({code}): {words}")
    if code == "readonly" or code.startswith("internal_api_error"):
        return Refusal(Reason.HTTP_5XX, f"commons: {words}", 503)
    return Refusal(Reason.SOURCE_CHANGED, f"commons refuses the question ({code}): {words}")


def _cursor(continuation: object) -> str:
    """Write down how to go on: parameters of the next request, whichever the API names, but none of our own."""
    said = continuation if isinstance(continuation, dict) else {}
    texts = {key: _text(value) for key, value in sorted(said.items()) if _CONTINUATION.fullmatch(key)}
    kept = {key: text for key, text in texts.items() if text and key not in _ASKED and key != _EARLIER_VERSIONS}
    return urlencode(kept) if kept.keys() - {"continue"} else ""


def _pages(answer: dict[str, Any], data: bytes) -> list[dict[str, Any]]:
    """Sort what was found by relevance, which the API does not. Raises SourceError for another form."""
    found = answer.get("query", {"pages": []})
    pages = found.get("pages") if isinstance(found, dict) else None
    is_known = "query" in answer or answer.keys() <= _WITHOUT_RESULTS
    if not is_known or not isinstance(pages, list) or not all(isinstance(page, dict) for page in pages):
        raise changed("commons answers in another form", data)
    return sorted(pages, key=lambda page: _number(page.get("index"), unknown=len(pages)))


def _has_no_file(page: dict[str, Any]) -> bool:
    """Whether a page is said to be without a file: it was deleted after it was indexed."""
    return bool(page.get("missing") or _file(page).get("filemissing"))


def _file(page: dict[str, Any]) -> dict[str, Any]:
    versions = page.get("imageinfo")
    newest = versions[0] if isinstance(versions, list) and versions else None
    return newest if isinstance(newest, dict) else {}


def _said(file: dict[str, Any]) -> dict[str, str]:
    """Read the values of the templates on a description page; where there are none, the API gives a list."""
    said = file.get("extmetadata")
    values = said.items() if isinstance(said, dict) else ()
    return {key: _text(value.get("value")) for key, value in values if isinstance(value, dict)}


def _licence(said: dict[str, str], url: str) -> str:
    if said.get("NonFree", "").casefold() == "true":
        return RESERVED
    return identify(
        said.get("License", ""), plain(said.get("LicenseShortName", "")), said.get("UsageTerms", ""), url=url
    )


def _snapshot(file: dict[str, Any], said: dict[str, str]) -> dict[str, Any]:
    """Keep the original and its rights as they are said to be today: anyone may edit the page tomorrow."""
    kept = {key: clean(value) if isinstance(value := file.get(key), str) else value for key in _KEPT_OF_FILE}
    rights = {key: plain(said.get(key, "")) for key in _KEPT_OF_PAGE}
    return {key: value for key, value in (kept | rights).items() if value and isinstance(value, str | int)}


def _number(value: object, unknown: int = 0) -> int:
    return value if isinstance(value, int) else unknown


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else clean(value)
