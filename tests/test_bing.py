"""Bing: everything a page of results says, the end of an answer, and pages that are none."""

import pytest
from hypothesis import given as fuzz
from hypothesis import settings
from hypothesis import strategies as st

from curate.crawl.interface import Page
from curate.crawl.settings import BingSettings
from curate.crawl.sources.bing import BingFinder
from db.reasons import Reason, Refusal
from tests.engines import (
    CONSENT,
    FORBID_ALL,
    addresses,
    answer,
    bing_block,
    bing_page,
    bing_said,
    given,
    picture,
    put_bing,
    read_on,
)
from tests.web import Web

QUERY = "red & guitar"
FINDER = BingFinder(BingSettings())
GOOD = bing_page([bing_block(bing_said(n)) for n in range(7)])


@pytest.fixture
def finder(web: Web) -> BingFinder:
    """Bing, as if it were on loopback."""
    return BingFinder(BingSettings(url=web.url))


def found(data: bytes, cursor: str = "") -> list[str]:
    """What is offered on a page."""
    page = given(FINDER, data, cursor)
    assert isinstance(page, Page), page
    return [offer.address for offer in page.offers]


def reason(data: bytes, cursor: str = "") -> Reason:
    """Why a page is none."""
    refusal = given(FINDER, data, cursor)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


def test_all_that_is_said_of_a_picture_is_kept(web: Web, finder: BingFinder) -> None:
    """Page, title and the rest come with a picture; a licence is not made up."""
    put_bing(web, 1)
    page = answer(finder, finder.first(QUERY))
    assert isinstance(page, Page)
    (offer,) = page.offers
    assert (offer.address, offer.source, offer.query, offer.name) == (picture(0), "bing", QUERY, "0.jpg")
    assert (offer.page_url, offer.title) == ("https://museum.example/works/0", "A guitar & its maker, 0")
    assert (offer.licence, offer.licence_said, offer.attribution, offer.source_id) == ("", "", "", "MID0")
    assert offer.extra["size"] == "1920 x 1080 · jpeg"
    assert offer.extra["desc"] == "Old “wood”"


def test_pictures_of_every_kind_are_found(web: Web, finder: BingFinder) -> None:
    """Whatever the address ends in, a question mark and more included, it is taken whole."""
    put_bing(web, 35)
    assert addresses([answer(finder, finder.first(QUERY))]) == [picture(n) for n in range(35)]


def test_pages_are_read_until_they_repeat(web: Web, finder: BingFinder) -> None:
    """Every picture is shown once, and the last page, which Bing shows again and again, ends the answer."""
    put_bing(web, 90)
    read = read_on(finder, QUERY)
    assert addresses(read) == [picture(n) for n in range(90)]
    assert [len(page.offers) for page in read if isinstance(page, Page)] == [35, 35, 20, 0]


def test_no_more_is_asked_for_than_bing_shows(web: Web, finder: BingFinder) -> None:
    """After a thousand results the answer ends, though Bing would go on."""
    put_bing(web, 5000, page_size=250)
    assert len(addresses(read_on(finder, QUERY))) == 1000
    assert web.asked["/images/async"] == 4


def test_a_question_goes_on_where_it_was_left(web: Web) -> None:
    """Another finder, in another process, gives the page that the cursor names."""
    put_bing(web, 90)
    first = answer(BingFinder(BingSettings(url=web.url)), FINDER.first(QUERY))
    assert isinstance(first, Page)
    assert first.cursor is not None
    assert found(bing_page([bing_block(bing_said(1))]), first.cursor) == [picture(1)]


def test_nothing_found_is_an_end(web: Web, finder: BingFinder) -> None:
    """A page with Bing's list, and nothing in it, is an answer: there is none."""
    put_bing(web, 0)
    assert read_on(finder, QUERY) == [Page()]


def test_escapes_of_json_and_html_are_undone() -> None:
    """An address is what it was before it was packed into JSON, and that into an attribute."""
    said = r'{"murl":"https:\/\/a.example\/x.png?a=1\u0026b=%C3%BC\u003d2&c=\"","t":"x \ud83c\udfb8 \ud800"}'
    page = given(FINDER, bing_page([bing_block(said)]))
    assert isinstance(page, Page)
    assert (page.offers[0].address, page.offers[0].title) == (
        'https://a.example/x.png?a=1&b=%C3%BC=2&c="',
        "x \U0001f3b8 \N{REPLACEMENT CHARACTER}",
    )


def test_results_that_say_nothing_are_passed_over() -> None:
    """A block without JSON, with a list for it, without a file or with one that is not on the web hides no other."""
    odd = [None, "[1]", "{}", bing_said(1, murl="file:///etc/passwd"), bing_said(2, murl=7), "[" * 100_000]
    blocks = [bing_block(said) for said in odd]
    assert found(bing_page([*blocks, bing_block(bing_said(3)), bing_block(bing_said(3))])) == [picture(3)]


def test_broken_json_is_left_to_icrawler() -> None:
    """Where the JSON of a result cannot be read, a file that icrawler's regular expression finds is taken."""
    assert found(bing_page([bing_block(r'{"t":"\q","murl":"https:\/\/a.example\/x.jpg"}')])) == [
        "https://a.example/x.jpg"
    ]


@pytest.mark.parametrize("cursor", ["", "35 0123456789abcdef"])
def test_changed_markup_is_told(cursor: str) -> None:
    """Results of which none can be read are a fault of the source, on any page."""
    assert reason(GOOD.replace(b' m="', b' data-m="'), cursor) is Reason.SOURCE_CHANGED


@pytest.mark.parametrize("data", [b"", b"<html><body>Welcome</body></html>", GOOD.replace(b"imgpt", b"tile")[:900]])
def test_a_first_page_without_results_is_told(data: bytes) -> None:
    """What does not look like Bing's list is a fault at the beginning; later it is the end."""
    data = data.replace(b"iusc", b"x").replace(b"dgControl", b"x")
    assert reason(data) is Reason.SOURCE_CHANGED
    assert found(data, "35 0123456789abcdef") == []


@pytest.mark.parametrize("cursor", ["", "35 0123456789abcdef"])
def test_a_page_that_asks_for_consent_is_told(cursor: str) -> None:
    """A form in place of results is no end, wherever it comes up, and is named."""
    refusal = given(FINDER, CONSENT, cursor)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.SOURCE_CHANGED
    assert "consent" in refusal.detail
    assert "Before you continue" in refusal.detail


def test_robots_txt_decides_unless_the_user_does(web: Web, finder: BingFinder) -> None:
    """A page that robots.txt forbids is not asked for, unless the setting says to ask all the same."""
    put_bing(web, 3)
    web.put("/robots.txt", FORBID_ALL)
    refusal = answer(finder, finder.first(QUERY))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.ROBOTS_DISALLOWED
    assert web.asked["/images/async"] == 0
    stubborn = BingFinder(BingSettings(url=web.url, ignore_robots=True))
    assert len(addresses([answer(stubborn, stubborn.first(QUERY))])) == 3


@pytest.mark.parametrize(
    ("status", "expected"), [(403, Reason.HTTP_4XX), (500, Reason.HTTP_5XX), (304, Reason.HTTP_4XX)]
)
def test_a_refusal_is_handed_on(web: Web, finder: BingFinder, status: int, expected: Reason) -> None:
    """What the fetcher is told, the crawl is told; a 304 that was not asked for is no answer."""
    web.put("/images/async", b"", status=status)
    refusal = answer(finder, finder.first(QUERY))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is expected


def test_any_query_can_be_asked(web: Web, finder: BingFinder) -> None:
    """Words in any script, marks that mean something in an address, and broken text make a request that is answered."""
    put_bing(web, 3)
    for query in ("ギター & {0} %s #?=", "\ud800", "", "x" * 5000):
        assert answer(finder, finder.first(query)) == Page()


def check(data: bytes, cursor: str = "") -> None:
    """Whatever comes, a page or a named reason comes of it."""
    came = given(FINDER, data, cursor)
    assert isinstance(came, Page) or came.reason is Reason.SOURCE_CHANGED


@settings(max_examples=150, deadline=None)
@fuzz(st.binary(max_size=400), st.sampled_from(["", "35 0", "x", "1" * 5000]))
def test_no_bytes_raise(data: bytes, cursor: str) -> None:
    """Arbitrary bytes are a page or a fault of the source."""
    check(data, cursor)
    check(b'<div class="imgpt"><a m="' + data + b'">', cursor)


@settings(max_examples=150, deadline=None)
@fuzz(st.integers(0, len(GOOD)), st.integers(0, 200), st.binary(max_size=30))
def test_no_damage_to_a_good_page_raises(start: int, length: int, instead: bytes) -> None:
    """A page with a piece cut out, and something else put in, is a page or a fault of the source."""
    check(GOOD[:start] + instead + GOOD[start + length :])


@pytest.mark.parametrize("data", [b"<div>" * 100_000, b'<?xml version="1.0"?><a/>', b"http://a.example/b", b"<![" * 99])
def test_odd_documents_neither_raise_nor_warn(data: bytes) -> None:
    """Nesting without end, XML, and text that looks like an address are read as HTML that shows nothing."""
    assert reason(data) is Reason.SOURCE_CHANGED
