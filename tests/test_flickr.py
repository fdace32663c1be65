"""Flickr: photographs with their owners and licences, its ways of saying no, and a key that is told to nobody else."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given as fuzz
from hypothesis import settings
from hypothesis import strategies as st

from curate.crawl.interface import Page
from curate.crawl.settings import FlickrSettings
from curate.crawl.sources.flickr import FlickrFinder
from curate.ingest.intake import Offer
from curate.rights import attribution, identify
from db.reasons import Reason, Refusal
from tests.engines import addresses, answer, flickr_page, flickr_photo, given, put_flickr, read_on
from tests.web import Web

KEY = "0123456789abcdef0123456789abcdef"
FINDER = FlickrFinder(FlickrSettings(), KEY)
GOOD = flickr_page([flickr_photo(n) for n in range(3)], total=3)


@pytest.fixture
def finder(web: Web) -> FlickrFinder:
    """Flickr, as if it were on loopback."""
    return FlickrFinder(FlickrSettings(url=web.url + "/services/rest/"), KEY)


def offer_of(**more: Any) -> Offer:  # noqa: ANN401 - what Flickr says of a photograph
    """What is offered of a photograph."""
    page = given(FINDER, flickr_page([flickr_photo(1, **more)]))
    assert isinstance(page, Page), page
    (offer,) = page.offers
    return offer


def refused(data: bytes, cursor: str = "") -> Refusal:
    """Why an answer is none."""
    refusal = given(FINDER, data, cursor)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def test_all_that_is_said_of_a_photograph_is_kept(web: Web, finder: FlickrFinder) -> None:
    """Owner, licence, page and size come with a photograph, in one call."""
    put_flickr(web, 1, KEY)
    page = answer(finder, finder.first("guitar"))
    assert isinstance(page, Page)
    (offer,) = page.offers
    url, page_url = "https://creativecommons.org/licenses/by-sa/2.0/", "https://www.flickr.com/photos/ann/53690"
    assert offer.address == "https://live.staticflickr.com/65535/53690_12b9_o.jpg"
    assert (offer.source, offer.query, offer.name, offer.source_id) == ("flickr", "guitar", "53690_12b9_o.jpg", "53690")
    assert (offer.page_url, offer.title, offer.creator) == (page_url, "Guitar 0", "Ann Onymous")
    assert offer.creator_url == "https://www.flickr.com/people/39638504@N07"
    assert (offer.licence_said, offer.licence_url) == ("CC BY-SA 2.0", url)
    assert offer.licence == identify("CC BY-SA 2.0", url=url) != ""
    assert offer.attribution == attribution("Guitar 0", "Ann Onymous", offer.licence, url, page_url)
    assert offer.extra == {"owner": "39638504@N07", "license": "5", "height": 4000, "width": 4000}
    assert web.asked.total() == 1


def test_pages_are_read_to_the_end(web: Web, finder: FlickrFinder) -> None:
    """A hundred photographs come with each call, and the last page is the last that is asked for."""
    put_flickr(web, 250, KEY)
    assert len(set(addresses(read_on(finder, "guitar")))) == 250
    assert web.asked["/services/rest"] == 3


def test_no_more_is_asked_for_than_flickr_shows(web: Web, finder: FlickrFinder) -> None:
    """After 4,000 photographs the answer ends, though Flickr says that it has more."""
    put_flickr(web, 5000, KEY)
    assert len(addresses(read_on(finder, "guitar"))) == 4000


def test_the_largest_file_at_hand_is_taken() -> None:
    """Where the owner keeps the original, the largest copy is taken, with its own size."""
    offer = offer_of(url_o="", url_l=None)
    assert offer.address.endswith("_c.jpg")
    assert (offer.extra["height"], offer.extra["width"]) == (800, 800)


def test_photographs_without_a_file_are_passed_over() -> None:
    """A photograph of which no size is given away hides no other, and its page is no fault."""
    bare = {key: value for key, value in flickr_photo(1).items() if not key.startswith("url_")}
    page = given(FINDER, flickr_page([bare, flickr_photo(2)]))
    assert len(addresses([page])) == 1
    assert given(FINDER, flickr_page([bare])) == Page([])


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "All Rights Reserved"),
        ("1", "CC BY-NC-SA 2.0"),
        ("3", "CC BY-NC-ND 2.0"),
        (4, "CC BY 2.0"),
        ("7", "No known copyright restrictions"),
        ("9", "CC0 1.0"),
        ("12", "CC BY-SA 4.0"),
        ("16", "CC BY-NC-ND 4.0"),
        ("99", "Flickr licence 99"),
        (None, ""),
    ],
)
def test_licences_are_named(number: object, said: str) -> None:
    """A number, given as one or as text, is the licence that Flickr means by it; what is unknown is not guessed."""
    offer = offer_of(license=number)
    assert offer.licence_said == said
    assert offer.licence == identify(said, url=offer.licence_url)


def test_unknown_licences_are_no_licence() -> None:
    """A number that Flickr may come up with tomorrow opens nothing."""
    assert offer_of(license="99").licence == ""


def test_owners_without_a_name_of_their_own_have_a_page() -> None:
    """Where the owner chose no path, Flickr's number for them leads to the photograph."""
    assert offer_of(pathalias=None).page_url == "https://www.flickr.com/photos/39638504@N07/53691"


def test_nothing_found_is_an_end(web: Web, finder: FlickrFinder) -> None:
    """A total of nothing is an answer."""
    put_flickr(web, 0, KEY)
    assert read_on(finder, "guitar") == [Page([])]


def test_a_key_that_flickr_does_not_know_is_told(web: Web, finder: FlickrFinder) -> None:
    """The refusal says what is wrong and where a key is set, and does not repeat it."""
    put_flickr(web, 1, "another")
    refusal = answer(finder, finder.first("guitar"))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.http_status) == (Reason.HTTP_4XX, 401)
    assert "CURATE_FLICKR_KEY" in refusal.detail
    assert KEY not in str(refusal)


@pytest.mark.parametrize(
    ("code", "expected"), [(105, Reason.HTTP_5XX), (3, Reason.SOURCE_CHANGED), ("112", Reason.SOURCE_CHANGED)]
)
def test_other_failures_are_told_in_flickrs_words(code: int | str, expected: Reason) -> None:
    """What will pass is told apart from what will not."""
    refusal = refused(json.dumps({"stat": "fail", "code": code, "message": "So it is."}).encode())
    assert refusal.reason is expected
    assert "So it is." in refusal.detail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b'jsonFlickrApi({"stat":"ok"})',
        b'{"stat":"ok"}',
        b'{"stat":"ok","photos":[]}',
        b'{"stat":"ok","photos":{"photo":[1]}}',
        b"[" * 100_000,
        flickr_page([{"id": "1", "image": "https://a.example/1.jpg"}]),
        flickr_page([], total="20"),
    ],
)
def test_an_answer_in_another_form_is_told(data: bytes) -> None:
    """JSON of another shape, none at all, and photographs that say nothing are a fault of the source."""
    assert refused(data).reason is Reason.SOURCE_CHANGED


def test_a_later_page_without_photographs_is_the_end() -> None:
    """Flickr's total is a guess: fewer photographs may come than it said."""
    assert given(FINDER, flickr_page([], page=3, pages=9, total=900), "3") == Page([])


def test_robots_txt_does_not_govern_an_api(web: Web, finder: FlickrFinder) -> None:
    """The API has terms of its own; its robots.txt is not even asked for."""
    put_flickr(web, 1, KEY)
    assert len(addresses([answer(finder, finder.first("guitar"))])) == 1
    assert web.asked["/robots.txt"] == 0


def test_the_key_is_told_to_nobody_else(web: Web, finder: FlickrFinder, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a log, nor a repr, nor an offer, nor a refusal holds the key, though the server repeats it."""
    caplog.set_level(logging.DEBUG)
    echo = flickr_page([flickr_photo(1, title=KEY, owner=KEY, url_o=f"https://a.example/?api_key={KEY}")])
    for body in (echo, json.dumps({"stat": "fail", "code": 3, "message": f"no {KEY}"}).encode(), KEY.encode()):
        web.put("/services/rest", body)
        came = answer(finder, finder.first("guitar"))
        assert KEY not in repr(came)
        assert "…" in repr(came)
    web.put("/services/rest", b"", status=302, headers={"Location": f"ftp://x/{KEY}?{KEY}"})
    assert KEY not in repr(answer(finder, finder.first("guitar")))
    web.put("/services/rest", b"", status=302, headers={"Location": f"http://[{KEY}"})
    assert KEY not in repr(answer(finder, finder.first("guitar")))
    assert KEY not in repr(finder) + repr(finder.first("guitar")) + caplog.text


def check(data: bytes, cursor: str = "") -> None:
    """Whatever comes, a page or a named reason comes of it."""
    came = given(FINDER, data, cursor)
    assert isinstance(came, Page) or came.reason in Reason


@settings(max_examples=150, deadline=None)
@fuzz(st.binary(max_size=300), st.sampled_from(["", "2", "x", "1" * 5000]))
def test_no_bytes_raise(data: bytes, cursor: str) -> None:
    """Arbitrary bytes are a page or a fault of the source."""
    check(data, cursor)


@settings(max_examples=150, deadline=None)
@fuzz(st.integers(0, len(GOOD)), st.integers(0, 200), st.binary(max_size=30))
def test_no_damage_to_a_good_answer_raises(start: int, length: int, instead: bytes) -> None:
    """An answer with a piece cut out, and something else put in, is a page or a fault of the source."""
    check(GOOD[:start] + instead + GOOD[start + length :])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@fuzz(st.dictionaries(st.sampled_from([*flickr_photo(1), "media"]), ANYTHING, max_size=8), ANYTHING, ANYTHING)
def test_no_value_raises(photo: dict[str, Any], pages: object, total: object) -> None:
    """Whatever stands where Flickr has text and numbers, a page or a fault of the source comes of it."""
    shown = {"pages": pages, "total": total, "photo": [flickr_photo(1) | photo, photo]}
    check(json.dumps({"stat": "ok", "photos": shown}).encode())
    check(json.dumps({"stat": "fail", "code": pages, "message": total}).encode())
