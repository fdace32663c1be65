"""Google: results among scripts that hold much else, the end of an answer, and pages that are none."""

import pytest
from hypothesis import given as fuzz
from hypothesis import settings
from hypothesis import strategies as st

from curate.crawl.interface import Page
from curate.crawl.settings import GoogleSettings
from curate.crawl.sources.google import GoogleFinder
from db.reasons import Reason, Refusal
from tests.engines import (
    CONSENT,
    FORBID_ALL,
    addresses,
    answer,
    given,
    google_page,
    google_result,
    picture,
    put_google,
    read_on,
)
from tests.web import Web, serve

QUERY = "red & guitar"
FINDER = GoogleFinder(GoogleSettings())
GOOD = google_page([google_result(n) for n in range(7)])
LATER = "100 0123456789abcdef"


@pytest.fixture
def finder(web: Web) -> GoogleFinder:
    """Google, as if it were on loopback."""
    return GoogleFinder(GoogleSettings(url=web.url))


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


def test_all_that_is_said_of_a_picture_is_kept(web: Web, finder: GoogleFinder) -> None:
    """Page, title and size come with a picture, each with its own; a licence is not made up."""
    put_google(web, 2)
    page = answer(finder, finder.first(QUERY))
    assert isinstance(page, Page)
    _, offer = page.offers
    assert (offer.address, offer.source, offer.query, offer.name) == (picture(1), "google", QUERY, "1.png")
    assert (offer.page_url, offer.title) == ("https://museum.example/works?n=1", 'A “guitar” & its "maker", 1')
    assert (offer.licence, offer.licence_said, offer.attribution) == ("", "", "")
    assert offer.extra == {"height": 853, "width": 1280}


def test_pictures_of_every_kind_are_found_and_none_of_googles_own(web: Web, finder: GoogleFinder) -> None:
    """Addresses are taken whole; thumbnails, logos and other files of Google's are left out."""
    put_google(web, 100)
    assert addresses([answer(finder, finder.first(QUERY))]) == [picture(n) for n in range(100)]


def test_pages_are_read_to_the_end(web: Web, finder: GoogleFinder) -> None:
    """A later page without results ends the answer."""
    put_google(web, 250)
    read = read_on(finder, QUERY)
    assert addresses(read) == [picture(n) for n in range(250)]
    assert read[-1] == Page()


def test_a_page_shown_again_ends_the_answer() -> None:
    """The same pictures in another order are no further page."""
    first = given(FINDER, GOOD)
    assert isinstance(first, Page)
    assert first.cursor is not None
    assert given(FINDER, google_page([google_result(n) for n in reversed(range(7))]), first.cursor) == Page()


def test_no_more_is_asked_for_than_google_shows(web: Web, finder: GoogleFinder) -> None:
    """After a thousand results the answer ends."""
    put_google(web, 5000)
    assert len(addresses(read_on(finder, QUERY))) == 1000
    assert web.asked["/search"] == 10


@pytest.mark.parametrize(
    "address",
    [
        "https://encrypted-tbn2.gstatic.com/images?q=tbn:x",
        "https://www.gstatic.com/a.png",
        "https://www.google.co.uk/logos/a.png",
        "https://google.com/a.png",
    ],
)
def test_googles_own_files_are_left_out(address: str) -> None:
    """Google's hosts, under any country's name, show no picture that was searched for."""
    assert found(google_page([google_result(0, address), google_result(1)])) == [picture(1)]


@pytest.mark.parametrize("host", ["mygoogle.com", "google.com.museum.example", "lh3.googleusercontent.com", "[::1]"])
def test_hosts_that_look_like_googles_are_not(host: str) -> None:
    """Only Google's own names are left out."""
    assert found(google_page([google_result(0, f"https://{host}/a.png")])) == [f"https://{host}/a.png"]


def test_escapes_are_undone_without_harm() -> None:
    """What is written beyond ASCII stays what it is, halves of a pair come together, and a broken escape stays."""
    page = google_page([google_result(0, "https://a.example/ü?x=1&y=2").replace("maker", r"\ud83c\udfb8 \ud800 \u12")])
    came = given(FINDER, page)
    assert isinstance(came, Page)
    assert came.offers[0].address == "https://a.example/ü?x=1&y=2"
    assert came.offers[0].title == 'A “guitar” & its "\U0001f3b8 \N{REPLACEMENT CHARACTER} \\u12", 0'


@pytest.mark.parametrize(
    "data",
    [
        GOOD.replace(b",853,1280]", b",{h:853}]"),
        b"",
        b"<html><title>x</title>",
        google_page([]),
        b'<script>["https://[/a.png",1,2]</script>',
    ],
)
def test_a_first_page_without_results_is_told(data: bytes) -> None:
    """New markup and empty pages, which cannot be told apart, are a fault at the beginning; later they are the end."""
    assert reason(data) is Reason.SOURCE_CHANGED
    assert found(data, LATER) == []


def test_nothing_found_is_an_end_where_google_says_so() -> None:
    """The sentence that nothing matches is an answer."""
    assert given(FINDER, b"<p>Your search - <b>x</b> - did not match any image results.</p>") == Page()


@pytest.mark.parametrize("cursor", ["", LATER])
@pytest.mark.parametrize("data", [CONSENT, b'<form id="captcha-form" action="index">', b"<p>unusual traffic from your"])
def test_a_page_that_asks_for_a_person_is_told(cursor: str, data: bytes) -> None:
    """A consent form or a captcha in place of results is no end, wherever it comes up."""
    refusal = given(FINDER, data, cursor)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.SOURCE_CHANGED
    assert "consent or captcha" in refusal.detail


def test_robots_txt_decides_unless_the_user_does(web: Web, finder: GoogleFinder) -> None:
    """A page that robots.txt forbids is not asked for, unless the setting says to ask all the same."""
    put_google(web, 3)
    web.put("/robots.txt", b"User-agent: *\nAllow: /search/about\nDisallow: /search\n")
    refusal = answer(finder, finder.first(QUERY))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.ROBOTS_DISALLOWED
    assert web.asked["/search"] == 0
    stubborn = GoogleFinder(GoogleSettings(url=web.url, ignore_robots=True))
    assert len(addresses([answer(stubborn, stubborn.first(QUERY))])) == 3


def test_consent_elsewhere_is_not_reached_past_robots_txt(web: Web, finder: GoogleFinder) -> None:
    """A redirect to another host is judged by that host's robots.txt."""
    with serve() as elsewhere:
        elsewhere.put("/robots.txt", FORBID_ALL)
        web.put("/search", b"", status=302, headers={"Location": elsewhere.put("/ml", CONSENT)})
        refusal = answer(finder, finder.first(QUERY))
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.ROBOTS_DISALLOWED


def test_any_query_can_be_asked(web: Web, finder: GoogleFinder) -> None:
    """Words in any script, marks that mean something in an address, and broken text make a request that is answered."""
    web.put("/search", GOOD)
    for query in ("ギター & {0} %s #?=", "\ud800", "", "x" * 5000):
        assert len(addresses([answer(finder, finder.first(query))])) == 7


def check(data: bytes, cursor: str = "") -> None:
    """Whatever comes, a page or a named reason comes of it."""
    came = given(FINDER, data, cursor)
    assert isinstance(came, Page) or came.reason is Reason.SOURCE_CHANGED


@settings(max_examples=150, deadline=None)
@fuzz(st.binary(max_size=400), st.sampled_from(["", LATER, "x", "1" * 5000]))
def test_no_bytes_raise(data: bytes, cursor: str) -> None:
    """Arbitrary bytes are a page or a fault of the source."""
    check(data, cursor)
    check(b'<script>["https://' + data + b'",1,2]', cursor)


@settings(max_examples=150, deadline=None)
@fuzz(st.integers(0, len(GOOD)), st.integers(0, 200), st.binary(max_size=30))
def test_no_damage_to_a_good_page_raises(start: int, length: int, instead: bytes) -> None:
    """A page with a piece cut out, and something else put in, is a page or a fault of the source."""
    check(GOOD[:start] + instead + GOOD[start + length :])


@pytest.mark.parametrize("piece", [b"http", b'["https:', b'["https://a/",1,2]', b'"2003":[null,"', b"\\"])
def test_a_page_made_to_hurt_is_read(piece: bytes) -> None:
    """Half a megabyte of beginnings without ends is no trap: nothing is searched twice."""
    check(b"<script>" + piece * (500_000 // len(piece)))
