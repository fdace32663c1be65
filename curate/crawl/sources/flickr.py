"""Flickr, through its API: one call a page, with licences. The key is the user's own, and is told to Flickr alone."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from icrawler.builtin.flickr import FlickrFeeder

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.settings import FlickrSettings
from curate.crawl.sources.engine import ask, changed, clean, file_name, is_web, json_object, page_address
from curate.crawl.wire import Kind
from curate.ingest.intake import Offer
from curate.rights import attribution, identify
from db.reasons import Reason, Refusal

_PAGE_SIZE = 100
_MOST_PAGES = 40
"""Flickr shows 4,000 photographs of one query; asked for more, it repeats itself."""
_SIZES = "olcz"
"""Original, 1024, 800 and 640 pixels of the longer side, as far as the owner gives them away."""
_EXTRAS = ",".join([*(f"url_{size}" for size in _SIZES), "license", "owner_name", "path_alias"])
_KEPT = ("owner", "license", "media")
_SHORTEST_KEY = 8
"""Flickr's have 32 characters. Something shorter opens nothing, and may stand anywhere in an answer."""
_NO_KEY = "100"
_BUSY = {"10", "105", "201"}
_HOW = "get a key at https://www.flickr.com/services/apps/create/ and set CURATE_FLICKR_KEY to it"
_DEEDS = "https://creativecommons.org/licenses/"

_LICENCES = {
    "0": ("All Rights Reserved", ""),
    "7": ("No known copyright restrictions", "https://www.flickr.com/commons/usage/"),
    "8": ("United States Government Work", "https://www.usa.gov/government-copyright"),
    "9": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "10": ("Public Domain Mark 1.0", "https://creativecommons.org/publicdomain/mark/1.0/"),
    **{
        number: (f"CC {kind.upper()} {version}", f"{_DEEDS}{kind}/{version}/")
        for version, numbers in {
            "2.0": {"1": "by-nc-sa", "2": "by-nc", "3": "by-nc-nd", "4": "by", "5": "by-sa", "6": "by-nd"},
            "4.0": {"11": "by", "12": "by-sa", "13": "by-nd", "14": "by-nc", "15": "by-nc-sa", "16": "by-nc-nd"},
        }.items()
        for number, kind in numbers.items()
    },
}
"""What `flickr.photos.licenses.getInfo` answers: it has grown once in ten years, and a call a run would be wasted."""


class FlickrFinder:
    """Asks https://api.flickr.com for photographs, the most relevant first."""

    name = "flickr"
    searches = True
    most_questions: int | None = 1

    def __init__(self, settings: FlickrSettings, key: str) -> None:
        self._url = settings.url
        self._key = key

    def first(self, query: str) -> Question:
        """Begin with the first page."""
        return Question(query)

    async def page(self, question: Question, fetcher: Fetcher) -> Page:
        """Give one page of photographs. Raises SourceError where Flickr gives none."""
        number = int(question.cursor) if re.fullmatch("[0-9]{1,4}", question.cursor) else 1
        try:
            body = await ask(fetcher, self._address(clean(question.query), number), Kind.API)
        except SourceError as error:
            refusal = replace(error.refusal, detail=self._hide(error.refusal.detail))
            raise SourceError(refusal) from None
        return _page(self._hide(body.data.decode("utf-8", "replace")), question.query, number)

    def _address(self, query: str, number: int) -> str:
        # The key is put in here: icrawler's feeder writes every address into its log.
        fed = page_address(
            FlickrFeeder,
            "",
            apikey="",
            text=query,
            sort="relevance",
            extras=_EXTRAS,
            per_page=_PAGE_SIZE,
            page=number,
        )
        asked = dict(parse_qsl(urlsplit(fed).query)) | {"media": "photos", "api_key": self._key}
        return f"{self._url}?{urlencode(asked)}"

    def _hide(self, text: str) -> str:
        """Take the key out of what will be kept or shown, should an answer repeat it."""
        if len(self._key) < _SHORTEST_KEY:
            return text
        return text.replace(self._key, "…").replace(quote_plus(self._key), "…")


def _page(text: str, query: str, number: int) -> Page:
    answer = json_object(text) or {}
    if answer.get("stat") == "fail":
        raise SourceError(_fault(_text(answer.get("code")), clean(answer.get("message"))))
    shown = answer.get("photos")
    photos = shown.get("photo") if isinstance(shown, dict) else None
    if not isinstance(shown, dict) or not isinstance(photos, list) or not all(isinstance(p, dict) for p in photos):
        raise changed("flickr answers in another form", text.encode())
    offers = [offer for photo in photos for offer in _offers(photo, query)]
    if not offers and not any("license" in photo for photo in photos) and _is_unclear(shown, number):
        raise changed("flickr answers without photographs", text.encode())
    last = min(_number(shown.get("pages")), _MOST_PAGES)
    return Page(offers, str(number + 1) if photos and number < last else None)


def _is_unclear(shown: dict[str, Any], number: int) -> bool:
    """Whether an answer without photographs may be a fault: it tells of some, or does not tell how many."""
    if shown.get("photo"):
        return True
    return number == 1 and _number(shown.get("total"), unknown=1) > 0


def _fault(code: str, message: str) -> Refusal:
    """Read what the API says of a failure, which it sends as if it were a success."""
    if code == _NO_KEY:
        return Refusal(Reason.HTTP_4XX, f"flickr does not know the API key: {_HOW}", 401)
    if code in _BUSY:
        return Refusal(Reason.HTTP_5XX, f"flickr: {message}", 503)
    return Refusal(Reason.SOURCE_CHANGED, f"flickr refuses the question ({code}): {message}")


def _number(value: object, unknown: int = 0) -> int:
    """Read a count, which Flickr gives now as a number, now as text."""
    digits = _text(value)
    return int(digits) if re.fullmatch("[0-9]{1,12}", digits) else unknown


def _text(value: object) -> str:
    return str(value) if isinstance(value, int) else clean(value)


def _offers(photo: dict[str, Any], query: str) -> Iterator[Offer]:
    """Offer the largest file of a photograph, if there is any."""
    said = {key: _text(value) for key, value in photo.items()}
    size = next((size for size in _SIZES if is_web(said.get(f"url_{size}", ""))), None)
    if size is None:
        return
    address, owner = said[f"url_{size}"], said.get("owner", "")
    page_url = f"https://www.flickr.com/photos/{said.get('pathalias') or owner}/{said.get('id', '')}"
    number = said.get("license", "")
    licence_said, licence_url = _LICENCES.get(number, (f"Flickr licence {number}" if number else "", ""))
    licence = identify(licence_said, url=licence_url)
    creator, title = said.get("ownername", ""), said.get("title", "")
    yield Offer(
        address=address,
        source=FlickrFinder.name,
        query=query,
        name=file_name(address),
        page_url=page_url,
        title=title,
        creator=creator,
        creator_url=f"https://www.flickr.com/people/{owner}" if owner else "",
        licence=licence,
        licence_said=licence_said,
        licence_url=licence_url,
        attribution=attribution(title, creator, licence, licence_url, page_url),
        source_id=said.get("id", ""),
        extra=_snapshot(said, size),
    )


def _snapshot(said: dict[str, str], size: str) -> dict[str, Any]:
    """Keep what is said of a photograph beside the rest: its owner, its licence's number, and its size."""
    sides = {side: _number(said.get(f"{side}_{size}")) for side in ("height", "width")}
    return {key: said[key] for key in _KEPT if said.get(key)} | {side: n for side, n in sides.items() if n}
