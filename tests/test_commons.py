"""Wikimedia Commons: what its templates say as plain text, copies of the wanted size, and its ways of saying no."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given as fuzz
from hypothesis import settings
from hypothesis import strategies as st

from curate.crawl.interface import Page, Question
from curate.crawl.settings import CommonsSettings
from curate.crawl.sources import commons
from curate.crawl.sources.commons import CommonsFinder
from curate.crawl.sources.html_text import absolute, first_link, plain
from curate.ingest.intake import Offer
from curate.rights import RESERVED, attribution
from db.reasons import Reason, Refusal
from tests.engines import addresses, answer, given, read_on
from tests.sources import ANYTHING, commons_file, commons_page, mutated, put_commons
from tests.web import Answer, Web

FINDER = CommonsFinder(CommonsSettings())
DEED = "https://creativecommons.org/licenses/by-sa/3.0"


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a busy server again at once."""
    monkeypatch.setattr(commons, "_WAITS", (0.0, 0.0, None))


@pytest.fixture
def finder(web: Web) -> CommonsFinder:
    """Commons, as if it were on loopback."""
    return CommonsFinder(CommonsSettings(url=web.url + "/w/api.php"))


def offer_of(
    said: dict[str, Any] | None = None,
    wanted: int = 1280,
    **more: Any,  # noqa: ANN401 - what Commons says of a file
) -> Offer:
    """What is offered of a file."""
    finder = CommonsFinder(CommonsSettings.model_validate({"width": wanted}))
    page = given(finder, commons_page([commons_file(1, said, **more)]))
    assert isinstance(page, Page), page
    (offer,) = page.offers
    return offer


def refused(data: bytes) -> Refusal:
    """Why an answer is none."""
    refusal = given(FINDER, data)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def test_all_that_is_said_of_a_file_is_kept(web: Web, finder: CommonsFinder) -> None:
    """Author, licence, credit and description page come with a picture, and the original's address and hash."""
    put_commons(web, [commons_file(0)])
    page = answer(finder, finder.first("jazzmaster"))
    assert isinstance(page, Page)
    (offer,) = page.offers
    file = commons_file(0)["imageinfo"][0]
    assert (offer.source, offer.query, offer.source_id) == ("commons", "jazzmaster", "1000")
    assert (offer.address, offer.page_url) == (file["thumburl"], file["descriptionurl"])
    assert (offer.name, offer.title) == ("Jazzmaster 0.jpg", "Jazzmaster 0")
    assert (offer.creator, offer.creator_url) == ("Ann & Bob", "https://commons.wikimedia.org/wiki/User:Ann")
    assert (offer.licence, offer.licence_said, offer.licence_url) == ("CC-BY-SA-3.0", "CC BY-SA 3.0", DEED)
    assert offer.attribution == attribution("Jazzmaster 0", "Ann & Bob", "CC-BY-SA-3.0", DEED, offer.page_url)
    for key in ("url", "size", "width", "height", "sha1", "mime"):
        assert offer.extra[key] == file[key]
    assert (offer.extra["License"], offer.extra["Credit"]) == ("cc-by-sa-3.0", "Own work")


def test_it_is_asked_as_it_wants_to_be(web: Web, finder: CommonsFinder) -> None:
    """One call brings fifty files with their rights, scaled to a width that is ready, and steps back under load."""
    asked = put_commons(web, [])
    answer(finder, finder.first(" jazzmaster "))
    assert asked == [
        {
            "action": "query",
            "format": "json",
            "formatversion": "2",
            "generator": "search",
            "gsrsearch": "filetype:bitmap jazzmaster",
            "gsrnamespace": "6",
            "gsrlimit": "50",
            "prop": "imageinfo",
            "iiprop": "url|size|mime|sha1|extmetadata",
            "iiurlwidth": "1280",
            "maxlag": "5",
        }
    ]


def test_pages_are_read_to_the_end(web: Web, finder: CommonsFinder) -> None:
    """The API says how to go on, and where there is no more."""
    asked = put_commons(web, [commons_file(n) for n in range(120)])
    assert len(set(addresses(read_on(finder, "jazzmaster")))) == 120
    assert [words.get("gsroffset") for words in asked] == [None, "50", "100"]


def test_the_best_match_comes_first(web: Web, finder: CommonsFinder) -> None:
    """The API gives files in any order, and says which they should have."""
    put_commons(web, [commons_file(n) for n in range(30)])
    page = answer(finder, finder.first("jazzmaster"))
    assert isinstance(page, Page)
    assert [offer.source_id for offer in page.offers] == [str(1000 + n) for n in range(30)]


def test_nothing_found_is_an_end(web: Web, finder: CommonsFinder) -> None:
    """An answer without a `query` has no results."""
    put_commons(web, [])
    assert read_on(finder, "jazzmaster") == [Page([])]


def test_any_continuation_is_followed() -> None:
    """Where rights do not fit into one answer, the API names other parameters; what we ask for stays as it is."""
    said = {"iicontinue": "A.jpg|2009", "gsroffset": 50, "continue": "||", "action": "delete", "X-Y": "1"}
    body = json.loads(commons_page([commons_file(1)])) | {"continue": said}
    page = given(FINDER, json.dumps(body).encode())
    assert isinstance(page, Page)
    assert page.cursor == "continue=%7C%7C&gsroffset=50&iicontinue=A.jpg%7C2009"


def test_earlier_versions_of_a_file_are_not_asked_for() -> None:
    """A single file comes with an offer of its history, which is other pictures or the same one again."""
    body = json.loads(commons_page([commons_file(1)])) | {
        "continue": {"iistart": "2009-03-01T12:00:00Z", "continue": "||"}
    }
    page = given(FINDER, json.dumps(body).encode())
    assert isinstance(page, Page)
    assert (len(page.offers), page.cursor) == (1, None)


def test_a_page_of_files_whose_rights_come_later_is_no_fault() -> None:
    """A batch that was cut short may describe none of its files yet."""
    bare = [{"pageid": 1, "ns": 6, "title": "File:A.jpg", "index": 1}]
    page = given(FINDER, commons_page(bare, offset=50))
    assert isinstance(page, Page)
    assert (page.offers, page.cursor) == ([], "continue=gsroffset%7C%7C&gsroffset=50")
    assert refused(commons_page(bare)).reason is Reason.SOURCE_CHANGED


def test_a_continuation_that_leads_nowhere_is_an_end(web: Web, finder: CommonsFinder) -> None:
    """A server that tells the same again and again is not asked for ever."""
    web.put("/w/api.php", commons_page([commons_file(1)], offset=50))
    assert len(read_on(finder, "jazzmaster")) == 2


def test_deleted_files_are_passed_over() -> None:
    """A file that the search still knows and the wiki does not hides no other, and alone is no fault."""
    gone = {"ns": 6, "title": "File:Gone.jpg", "missing": True, "index": 1}
    lost = {"pageid": 2, "ns": 6, "title": "File:Lost.jpg", "index": 2, "imageinfo": [{"filemissing": True}]}
    assert len(addresses([given(FINDER, commons_page([gone, lost, commons_file(3)]))])) == 1
    assert given(FINDER, commons_page([gone, lost])) == Page([])


@pytest.mark.parametrize(
    ("wanted", "more", "expected"),
    [
        (1280, {}, "1280px-Jazzmaster_1.jpg"),
        (1280, {"width": 1280}, "Jazzmaster_1.jpg"),
        (1280, {"width": 800}, "Jazzmaster_1.jpg"),
        (1280, {"thumburl": None}, "Jazzmaster_1.jpg"),
        (1280, {"thumburl": "//upload.wikimedia.org/thumb/1280px-x.jpg"}, "1280px-x.jpg"),
        (0, {}, "Jazzmaster_1.jpg"),
    ],
)
def test_larger_pictures_are_taken_scaled(wanted: int, more: dict[str, Any], expected: str) -> None:
    """A copy is taken only of what is wider than wanted, and only if there is one; the original's address is kept."""
    offer = offer_of(wanted=wanted, **more)
    assert offer.address.startswith("https://upload.wikimedia.org/")
    assert offer.address.rpartition("/")[2] == expected
    assert offer.extra["url"].endswith("/a/a1/Jazzmaster_1.jpg")


def test_originals_are_asked_for_without_copies(web: Web) -> None:
    """A width of nothing asks for no scaled copy."""
    asked = put_commons(web, [])
    finder = CommonsFinder(CommonsSettings(url=web.url + "/w/api.php", width=0))
    answer(finder, finder.first("jazzmaster"))
    assert "iiurlwidth" not in asked[0]


@pytest.mark.parametrize(
    ("said", "expected", "in_its_words"),
    [
        ({"License": "cc0", "LicenseShortName": "CC0", "LicenseUrl": None}, "CC0-1.0", "CC0"),
        ({"License": "pd", "LicenseShortName": "Public domain", "LicenseUrl": None}, "CC-PDM-1.0", "Public domain"),
        ({"License": None, "LicenseShortName": "FAL"}, "LAL-1.3", "FAL"),
        ({"License": "gfdl", "LicenseShortName": "GFDL"}, "GFDL-1.2-or-later", "GFDL"),
        (
            {"License": "cc-by-sa-3.0-de", "LicenseShortName": None},
            "CC-BY-SA-3.0-DE",
            "Creative Commons Attribution-Share",
        ),
        ({"License": None, "LicenseShortName": None, "UsageTerms": None}, "CC-BY-SA-3.0", ""),
        ({"License": None, "LicenseShortName": None, "UsageTerms": None, "LicenseUrl": None}, "", ""),
        ({"NonFree": "true", "License": None, "LicenseShortName": "Fair use"}, RESERVED, "Fair use"),
        ({"NonFree": "True"}, RESERVED, "CC BY-SA 3.0"),
    ],
)
def test_licences_are_named(said: dict[str, Any], expected: str, in_its_words: str) -> None:
    """Code, short name, terms or address tell the licence; what is not free has none, whatever else is said."""
    offer = offer_of(said)
    assert offer.licence == expected
    assert offer.licence_said.startswith(in_its_words)
    assert bool(offer.licence_said) == bool(in_its_words)


def test_rights_beside_the_licence_are_kept() -> None:
    """A trademark, and that a file is not free, is on record in the words of Commons."""
    offer = offer_of({"Restrictions": "trademarked", "NonFree": "true"})
    assert (offer.extra["Restrictions"], offer.extra["NonFree"]) == ("trademarked", "true")
    assert "Restrictions" not in offer_of().extra


@pytest.mark.parametrize(
    ("required", "is_given"), [("true", True), ("false", False), (True, True), (False, False), (None, True)]
)
def test_credit_is_written_unless_none_is_required(required: object, is_given: bool) -> None:
    """Booleans come as words; where nothing is said, credit is given."""
    assert bool(offer_of({"AttributionRequired": required}).attribution) is is_given


def test_credit_is_given_as_the_author_wants_it() -> None:
    """An attribution that the description page prescribes stands in the author's place."""
    assert "by Photo: Ann / Museum, " in offer_of({"Attribution": "<b>Photo:</b> Ann / Museum"}).attribution


def test_files_without_a_description_are_offered() -> None:
    """The API has a list where it has no values, and no title of its own then."""
    offer = offer_of(extmetadata=[], descriptionurl=None)
    assert (offer.title, offer.creator, offer.licence, offer.page_url) == ("Jazzmaster 1", "", "", "")


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("Ann", "Ann"),
        ("Ann &amp; Bob", "Ann & Bob"),
        ('<a href="//commons.wikimedia.org/wiki/User:Ann">Ann</a>\n(<a href="#">talk</a>)', "Ann (talk)"),
        ("<div>Ann</div><div>Bob</div>", "Ann Bob"),
        ("Ann<br/>Bob", "Ann Bob"),
        ('Ann<span style="display: none;">hidden <b hidden>twice</b></span><style>.a{}</style>', "Ann"),
        ("<script>alert(1)</script>", ""),
        ("a\0b\ud800 < c", "ab\ufffd < c"),
        ("http://example.org", "http://example.org"),
        ("<b>" * 50_000 + "Ann", ""),
    ],
)
def test_markup_becomes_one_line_of_text(markup: str, expected: str) -> None:
    """What a reader sees stays, and nothing else."""
    assert plain(markup) == expected


def test_links_are_whole_or_none() -> None:
    """A link without a scheme gets one, and what leads nowhere on the web is none."""
    assert first_link('<a href="/wiki/A">a</a> <a href="//a.example/b">b</a>') == "https://a.example/b"
    assert first_link("<a>Ann</a>") == ""
    assert [absolute(said) for said in ("//", "/wiki/A", "javascript:alert(1)", "")] == [""] * 4


def test_a_busy_moment_is_waited_out(web: Web, finder: CommonsFinder) -> None:
    """Commons says itself that it lags behind; asked again a little later it answers."""
    lagging = json.dumps({"error": {"code": "maxlag", "info": "2 seconds lagged"}}).encode()
    answers = [lagging, lagging, commons_page([commons_file(1)])]
    web.pages["/w/api.php"] = Answer(compute=lambda _query: (200, {}, answers.pop(0)))
    page = answer(finder, finder.first("jazzmaster"))
    assert isinstance(page, Page)
    assert len(page.offers) == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("maxlag", Reason.RATE_LIMITED),
        ("ratelimited", Reason.RATE_LIMITED),
        ("readonly", Reason.HTTP_5XX),
        ("internal_api_error_DBQueryError", Reason.HTTP_5XX),
        ("cirrussearch-query-too-long", Reason.SOURCE_CHANGED),
    ],
)
def test_failures_are_told_in_the_words_of_commons(code: str, expected: Reason) -> None:
    """What will pass is told apart from what will not."""
    body = {"error": {"code": code, "info": "Waiting for 10.64.16.7: 6 seconds lagged.", "lag": 6.2}}
    refusal = refused(json.dumps(body).encode())
    assert refusal.reason is expected
    assert "Waiting for" in refusal.detail
    assert code in refusal.detail or expected is Reason.HTTP_5XX


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><title>Wikimedia Error</title>",
        b"[]",
        b"[" * 100_000,
        b'{"result":[]}',
        b'{"error":"maxlag"}',
        b'{"query":[]}',
        b'{"query":{}}',
        b'{"query":{"pages":{"1":{"title":"File:A.jpg"}}}}',
        b'{"query":{"pages":[1]}}',
        b'{"query":{"pages":[{"title":"File:A.jpg","imageinfo":[{"address":"https://a.example/1.jpg"}]}]}}',
    ],
)
def test_an_answer_in_another_form_is_told(data: bytes) -> None:
    """JSON of another shape, none at all, and files without an address are a fault of the source."""
    assert refused(data).reason is Reason.SOURCE_CHANGED


def test_an_overlong_question_is_cut(web: Web, finder: CommonsFinder) -> None:
    """The search takes three hundred characters, and says no to more."""
    asked = put_commons(web, [])
    answer(finder, finder.first("guitar\ud800 " * 99))
    assert 200 < len(asked[0]["gsrsearch"]) < 300


def check(data: bytes, cursor: str = "") -> None:
    """Whatever comes, a page that can be kept or a named reason comes of it."""
    came = given(FINDER, data, cursor)
    if isinstance(came, Page):
        json.dumps([dict(offer.extra) for offer in came.offers], allow_nan=False)
        texts = [offer.title + offer.creator + offer.attribution + offer.licence_said for offer in came.offers]
        "".join([*texts, came.cursor or ""]).encode()
    else:
        assert came.reason in Reason


@settings(max_examples=100, deadline=None)
@fuzz(st.binary(max_size=300), st.sampled_from(["", "gsroffset=50&continue=gsroffset%7C%7C", "&=%", "x" * 5000]))
def test_no_bytes_raise(data: bytes, cursor: str) -> None:
    """Arbitrary bytes are a page or a fault of the source."""
    check(data, cursor)


def pages_of(values: Sequence[Any]) -> bytes:
    """An answer with these pages."""
    return json.dumps({"query": {"pages": list(values)}}).encode()


@settings(max_examples=150, deadline=None)
@fuzz(st.builds(lambda value: json.dumps(value).encode(), ANYTHING) | st.lists(ANYTHING, max_size=4).map(pages_of))
def test_no_json_raises(data: bytes) -> None:
    """Arbitrary JSON is a page or a fault of the source."""
    check(data)


@settings(max_examples=200, deadline=None)
@fuzz(mutated(json.loads(commons_page([commons_file(1), commons_file(2)], offset=50))))
def test_no_damage_to_a_good_answer_raises(data: bytes) -> None:
    """An answer with other values in it is a page or a fault of the source."""
    check(data)


@settings(max_examples=100, deadline=None)
@fuzz(st.text(max_size=80) | st.text("<>&/ab=\"'style hidden br div ", max_size=80))
def test_no_markup_raises(markup: str) -> None:
    """Whatever stands where an author should, text comes of it, and an address or none."""
    assert plain(markup) == " ".join(plain(markup).split())
    assert isinstance(first_link(markup), str)


def test_a_cursor_is_put_as_it_was_given(web: Web, finder: CommonsFinder) -> None:
    """What the API said to go on with comes back to it word for word."""
    asked = put_commons(web, [])
    answer(finder, Question("jazzmaster", cursor="continue=gsroffset%7C%7C&gsroffset=50"))
    assert (asked[0]["gsroffset"], asked[0]["continue"]) == ("50", "gsroffset||")
