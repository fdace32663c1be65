"""Openverse: every page of what it shows, slices where it shows too little, tokens, and answers in another form."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given as fuzz
from hypothesis import settings
from hypothesis import strategies as st

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question
from curate.crawl.settings import OpenverseSettings
from curate.crawl.sources.openverse import OpenverseFinder
from curate.ingest.intake import Offer
from curate.rights import attribution
from db.reasons import Reason, Refusal
from tests.engines import SETTINGS, addresses, answer, given, read_on
from tests.sources import (
    ANYTHING,
    Openverse,
    Works,
    harvest,
    mutated,
    openverse_page,
    openverse_work,
    put_openverse,
    serve_openverse,
)
from tests.web import Web

KEYS = ("client", "5f1d7c9e")
FINDER = OpenverseFinder(OpenverseSettings(), None)
LICENCES = ("by", "by-sa", "by-nc", "by-nc-sa", "by-nc-nd", "by-nd", "cc0", "pdm", "sampling+", "nc-sampling+")
SIDES = ((400, 300), (1200, 900), (3000, 2000), (2000, 3000), (2000, 2000))


@pytest.fixture
def finder(web: Web) -> OpenverseFinder:
    """Openverse, as if it were on loopback, asked by anybody."""
    return OpenverseFinder(OpenverseSettings(url=web.url), None)


@pytest.fixture
def openverse() -> Openverse:
    """An Openverse that has more than it shows."""
    return Openverse([openverse_work(n) for n in range(300)])


@pytest.fixture
def with_keys(openverse: Openverse) -> Iterator[OpenverseFinder]:
    """That Openverse, asked by somebody who is registered there."""
    with serve_openverse(openverse) as url:
        yield OpenverseFinder(OpenverseSettings(url=url), KEYS)


@pytest.fixture
def by_anybody(openverse: Openverse) -> Iterator[OpenverseFinder]:
    """That Openverse, asked by anybody."""
    with serve_openverse(openverse) as url:
        yield OpenverseFinder(OpenverseSettings(url=url), None)


def plain(count: int) -> Works:
    """So many works of one kind."""
    return [openverse_work(n) for n in range(count)]


def varied(count: int) -> Works:
    """So many works, half of them under one licence, of all sizes, shapes and categories."""
    works = []
    for n in range(count):
        width, height = SIDES[n // 2 % 5]
        category = ("photograph", "illustration", "digitized_artwork")[n // 20 % 3]
        licence = LICENCES[n // 2 % 10] if n % 2 else "by"
        works.append(openverse_work(n, license=licence, width=width, height=height, category=category))
    return works


def all_addresses(works: Works) -> set[str]:
    """Where the files of works are."""
    return {work["url"] for work in works}


def offer_of(**more: Any) -> Offer:  # noqa: ANN401 - what Openverse says of a work
    """What is offered of a work."""
    page = given(FINDER, openverse_page([openverse_work(1, **more)]))
    assert isinstance(page, Page), page
    (offer,) = page.offers
    return offer


def test_all_that_is_said_of_a_work_is_kept(web: Web, finder: OpenverseFinder) -> None:
    """Licence, credit, owner and page come with a work, and what else was said is kept as it was said."""
    put_openverse(web, plain(1))
    page = answer(finder, finder.first("jazzmaster"))
    assert isinstance(page, Page)
    (offer,) = page.offers
    work = openverse_work(0)
    assert (offer.source, offer.query, offer.name) == ("openverse", "jazzmaster", "0.jpg")
    assert (offer.address, offer.page_url) == (work["url"], work["foreign_landing_url"])
    assert (offer.title, offer.creator, offer.creator_url) == (work["title"], work["creator"], work["creator_url"])
    assert (offer.licence, offer.licence_said, offer.licence_url) == (
        "CC-BY-SA-2.0",
        "by-sa 2.0",
        work["license_url"],
    )
    assert (offer.attribution, offer.source_id) == (work["attribution"], work["id"])
    kept = ("provider", "source", "category", "mature", "filetype", "filesize", "width", "height", "license")
    assert {key: offer.extra[key] for key in kept} == {key: work[key] for key in kept}
    assert (offer.extra["license_version"], offer.extra["detail_url"]) == ("2.0", work["detail_url"])
    assert offer.extra["tags"][1] == {"name": "wood", "accuracy": 0.9}


def test_what_is_null_is_left_out() -> None:
    """A work of which little but its address is known is offered, with no licence that nobody named."""
    nulls = dict.fromkeys(set(openverse_work(1)) - {"url"})
    offer = offer_of(**nulls)
    assert offer == Offer("https://museum.example/files/1.jpg", "openverse", "guitar", name="1.jpg")


@pytest.mark.parametrize(
    ("said", "version", "url", "expected"),
    [
        ("cc0", "1.0", None, "CC0-1.0"),
        ("pdm", "1.0", None, "CC-PDM-1.0"),
        ("nc-sampling+", "1.0", None, "LicenseRef-CC-NC-sampling-plus-1.0"),
        ("by-nc-nd", "2.0", None, "CC-BY-NC-ND-2.0"),
        ("by", None, "https://creativecommons.org/licenses/by/3.0/", "CC-BY-3.0"),
        ("of-its-own", "1.0", None, ""),
    ],
)
def test_licences_are_named(said: str, version: str | None, url: str | None, expected: str) -> None:
    """Code, version and address say together which licence it is."""
    offer = offer_of(license=said, license_version=version, license_url=url)
    assert offer.licence == expected
    assert offer.licence_said == " ".join(filter(None, (said, version)))


def test_credit_is_written_where_none_is_given() -> None:
    """Title, author, source and licence make one."""
    offer = offer_of(attribution=None)
    url = "https://creativecommons.org/licenses/by-sa/2.0/"
    assert offer.attribution == attribution(offer.title, "Ann Onymous", "CC-BY-SA-2.0", url, offer.page_url)


def test_pages_are_read_to_the_end(web: Web, finder: OpenverseFinder) -> None:
    """Twenty works come with each, and the last page is the last that is asked for."""
    openverse = put_openverse(web, plain(50))
    assert set(addresses(read_on(finder, "jazzmaster"))) == all_addresses(openverse.works)
    assert [(asked["page"], asked["page_size"]) for asked in openverse.asked] == [("1", "20"), ("2", "20"), ("3", "20")]


def test_no_more_is_asked_for_than_is_shown(web: Web, finder: OpenverseFinder) -> None:
    """After 240 works a question ends, before the API has to refuse it."""
    put_openverse(web, plain(500))
    assert len(addresses(read_on(finder, "jazzmaster"))) == 240


def test_nothing_found_is_an_end(web: Web, finder: OpenverseFinder) -> None:
    """No works are no fault."""
    put_openverse(web, [])
    assert read_on(finder, "jazzmaster") == [Page([])]


def test_dead_links_shorten_a_page_and_end_nothing(web: Web, finder: OpenverseFinder) -> None:
    """A page with less than twenty works is the last only if the API counts no more pages."""
    web.put("/v1/images/", openverse_page(plain(7), total=50))
    page = answer(finder, finder.first("jazzmaster"))
    assert isinstance(page, Page)
    assert (len(page.offers), page.cursor) == (7, "20")


@pytest.mark.parametrize(("count", "slices"), [(1, 0), (239, 0), (240, 10), (5000, 10)])
def test_only_what_has_more_than_is_shown_is_cut(web: Web, finder: OpenverseFinder, count: int, slices: int) -> None:
    """The API counts no further than 240: from there on a query is asked by licence as well, and below it is not."""
    put_openverse(web, plain(count))
    first, *later = [page for page in read_on(finder, "jazzmaster") if isinstance(page, Page)]
    assert len(first.more) == slices
    assert not any(page.more for page in later)


def test_slices_hold_every_work(openverse: Openverse, by_anybody: OpenverseFinder) -> None:
    """Works beyond number are all found, by licence, and where that leaves too many by size, shape and category."""
    openverse.works = varied(1400)
    read = harvest(by_anybody, "jazzmaster")
    assert {offer.address for _, page in read for offer in page.offers} == all_addresses(openverse.works)
    parts = {question.part for question, _ in read}
    assert {"", "license=by", "license=sampling%2B", "license=by&size=large"} <= parts
    assert "license=by&size=large&aspect_ratio=tall" in parts
    assert not any(part.startswith("license=pdm&") for part in parts)


def test_works_of_unknown_size_are_found_as_far_as_the_api_shows_them(
    openverse: Openverse, by_anybody: OpenverseFinder
) -> None:
    """No slice by size holds them: what was cut is read to its end as well."""
    openverse.works = [*plain(200), *(openverse_work(n, width=None) for n in range(200, 400))]
    found = [offer.address for _, page in harvest(by_anybody, "jazzmaster") for offer in page.offers]
    assert set(found) == all_addresses(openverse.works[:240])


def test_slices_have_the_same_names_every_time(openverse: Openverse, by_anybody: OpenverseFinder) -> None:
    """A crawl that goes on knows what it has asked, and each name leads back to its slice."""
    parts = [question.part for question, _ in harvest(by_anybody, "jazzmaster")]
    assert parts == [question.part for question, _ in harvest(by_anybody, "jazzmaster")]
    openverse.asked.clear()
    answer(by_anybody, Question("jazzmaster", "license=sampling%2B&size=small", "20"))
    asked = {"q": "jazzmaster", "page": "2", "page_size": "20", "license": "sampling+", "size": "small"}
    assert openverse.asked == [asked]


def test_what_is_cut_by_everything_stays_whole(web: Web, finder: OpenverseFinder) -> None:
    """There is nothing left to cut by, and its 240 works are read."""
    put_openverse(web, plain(300))
    part = "license=by-sa&size=medium&aspect_ratio=wide&category=photograph"
    page = answer(finder, Question("jazzmaster", part))
    assert isinstance(page, Page)
    assert (len(page.offers), page.more, page.cursor) == (20, (), "20")


def test_questions_are_put_as_the_api_takes_them(web: Web, finder: OpenverseFinder) -> None:
    """Two hundred characters at most, and nothing that is no character."""
    openverse = put_openverse(web, plain(1))
    for words in ("guitar " * 99, "Gitarre & Bass + 50 %", "\ud800\0guitar"):
        assert isinstance(answer(finder, finder.first(words)), Page)
    assert [asked["q"] for asked in openverse.asked] == [
        ("guitar " * 99)[:200],
        "Gitarre & Bass + 50 %",
        "\ufffdguitar",
    ]


def test_with_credentials_pages_are_larger(openverse: Openverse, with_keys: OpenverseFinder) -> None:
    """One token serves all 240 works, in five pages."""
    assert len(addresses(read_on(with_keys, "jazzmaster"))) == 240
    assert openverse.tokens == ["token-0"]
    assert openverse.with_token == ["Bearer token-0"] * 5


def test_a_token_is_renewed_before_it_runs_out(openverse: Openverse, with_keys: OpenverseFinder) -> None:
    """One that would soon run out is used no second time."""
    openverse.lifetime = 30
    assert len(addresses(read_on(with_keys, "jazzmaster"))) == 240
    assert openverse.with_token == [f"Bearer token-{n}" for n in range(5)]


@pytest.mark.parametrize("lifetime", [None, "36000", -1, True, [], 1e400])
def test_a_lifetime_that_says_nothing_is_an_hour(
    openverse: Openverse, with_keys: OpenverseFinder, lifetime: object
) -> None:
    """An answer without a usable `expires_in` gives a token all the same."""
    openverse.lifetime = lifetime
    assert isinstance(answer(with_keys, with_keys.first("jazzmaster")), Page)


def test_a_token_that_was_taken_back_is_replaced(openverse: Openverse, with_keys: OpenverseFinder) -> None:
    """The question is put again with a new token, once."""
    assert isinstance(answer(with_keys, with_keys.first("jazzmaster")), Page)
    openverse.tokens[0] = "taken back"
    assert isinstance(answer(with_keys, with_keys.first("jazzmaster")), Page)
    assert openverse.with_token == ["Bearer token-0", "Bearer token-0", "Bearer token-1"]


def test_searches_side_by_side_share_a_token(openverse: Openverse, with_keys: OpenverseFinder) -> None:
    """Four questions at once ask for one token."""

    async def run() -> None:
        async with Fetcher(SETTINGS) as fetcher:
            await asyncio.gather(*(with_keys.page(Question(f"guitar {n}"), fetcher) for n in range(4)))

    asyncio.run(run())
    assert openverse.tokens == ["token-0"]


def test_a_search_goes_on_with_credentials_where_it_stopped_without(
    openverse: Openverse, with_keys: OpenverseFinder
) -> None:
    """No work is passed over because pages are now larger."""
    page = answer(with_keys, Question("jazzmaster", cursor="60"))
    assert isinstance(page, Page)
    assert page.offers[0].address == openverse.works[48]["url"]


def test_credentials_that_are_not_known_are_told(openverse: Openverse, with_keys: OpenverseFinder) -> None:
    """The refusal names the variable to look at."""
    openverse.credentials = ("client", "another")
    refusal = answer(with_keys, with_keys.first("jazzmaster"))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.http_status) == (Reason.HTTP_4XX, 401)
    assert "CURATE_OPENVERSE_CLIENT_ID" in refusal.detail


def test_secrets_are_told_to_nobody(
    openverse: Openverse, with_keys: OpenverseFinder, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a log, nor a repr, nor a page, nor a refusal holds the secret or a token."""
    caplog.set_level(logging.DEBUG)
    came = [answer(with_keys, with_keys.first("jazzmaster"))]
    openverse.credentials = ("client", "another")
    openverse.tokens[0] = ""
    came.append(answer(with_keys, with_keys.first("jazzmaster")))
    shown = f"{came!r} {with_keys!r} {caplog.text}"
    assert "jazzmaster" in shown
    assert "token-" not in shown
    assert KEYS[1] not in shown


@pytest.mark.parametrize(
    "data",
    [b"", b"token-0", b"[]", b'{"token":"token-0"}', b'{"access_token":7}', b'{"access_token":"token-0\\r\\nX: y"}'],
)
def test_a_token_in_another_form_is_told_and_not_shown(data: bytes) -> None:
    """What may be a token is no part of the refusal."""
    refusal = given(OpenverseFinder(OpenverseSettings(), KEYS), data)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.SOURCE_CHANGED
    assert "token-0" not in str(refusal)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_errors_of_the_api_keep_their_status(web: Web, finder: OpenverseFinder, status: int) -> None:
    """What the API refuses is refused for that reason."""
    web.put("/v1/images/", b'{"detail":"Not found."}', status=status)
    refusal = answer(finder, finder.first("jazzmaster"))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.http_status) == (Reason.HTTP_4XX, status)
    assert refusal.detail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><title>Openverse</title>",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"results":[]}',
        b'{"results":[],"result_count":0,"page_count":"0"}',
        b'{"results":{},"result_count":0,"page_count":0}',
        b'{"results":[],"result_count":true,"page_count":0}',
        openverse_page([1, None, {}]),
        openverse_page([{"id": "1", "image": "https://a.example/1.jpg"}]),
    ],
)
def test_an_answer_in_another_form_is_told(data: bytes) -> None:
    """JSON of another shape, none at all, and works without an address are a fault of the source."""
    refusal = given(FINDER, data)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.SOURCE_CHANGED


def test_a_malformed_work_hides_no_other() -> None:
    """What cannot be read is passed over."""
    page = given(FINDER, openverse_page([None, {"url": None}, openverse_work(1), {"url": []}, openverse_work(2)]))
    assert len(addresses([page])) == 2


def check(data: bytes, cursor: str = "") -> None:
    """Whatever comes, a page that can be kept or a named reason comes of it."""
    came = given(FINDER, data, cursor)
    if isinstance(came, Page):
        json.dumps([dict(offer.extra) for offer in came.offers], allow_nan=False).encode()
    else:
        assert came.reason in Reason


@settings(max_examples=100, deadline=None)
@fuzz(st.binary(max_size=300), st.sampled_from(["", "20", "x", "-1", "1" * 5000]))
def test_no_bytes_raise(data: bytes, cursor: str) -> None:
    """Arbitrary bytes are a page or a fault of the source."""
    check(data, cursor)


@settings(max_examples=150, deadline=None)
@fuzz(ANYTHING | st.fixed_dictionaries({"results": ANYTHING, "result_count": st.integers(), "page_count": ANYTHING}))
def test_no_json_raises(value: object) -> None:
    """Arbitrary JSON is a page or a fault of the source."""
    check(json.dumps(value).encode())


@settings(max_examples=200, deadline=None)
@fuzz(mutated(json.loads(openverse_page(plain(2)))))
def test_no_damage_to_a_good_answer_raises(data: bytes) -> None:
    """An answer with other values in it is a page or a fault of the source."""
    check(data)


@settings(max_examples=50, deadline=None)
@fuzz(st.binary(max_size=100) | st.builds(lambda value: json.dumps({"access_token": value}).encode(), ANYTHING))
def test_no_token_raises(data: bytes) -> None:
    """Whatever is given for a token, a page or a named reason comes of it."""
    came = given(OpenverseFinder(OpenverseSettings(), KEYS), data)
    assert isinstance(came, Page) or came.reason in Reason
