"""How hosts want to be asked: learned from their answers, obeyed, and remembered from run to run."""

import asyncio
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.crawl import fetch, hosts
from curate.crawl.fetch import Fetcher
from curate.crawl.hosts import Hosts, Pace, allowances
from curate.crawl.ledger import Ledger, known_paces
from curate.crawl.settings import CrawlSettings
from curate.crawl.wire import Body, Kind, Unchanged
from curate.project import Project
from db.reasons import Reason, Refusal
from tests.web import Web


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off and pause for milliseconds."""
    monkeypatch.setattr(fetch, "_FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(hosts, "FIRST_PAUSE_SECONDS", 0.01)


def get(
    *urls: str, known: tuple[Pace, ...] = (), remember: Callable[[Pace], None] = lambda _: None, **settings: object
) -> tuple[list[Body | Unchanged | Refusal], Hosts]:
    """Fetch one after the other; give the answers and what was learned of the hosts."""
    chosen = CrawlSettings.model_validate({"allow_private_addresses": True, "deadline_seconds": 5} | settings)

    async def run() -> tuple[list[Body | Unchanged | Refusal], Hosts]:
        async with Fetcher(chosen, known, remember) as fetcher:
            return [await fetcher.get(url, Kind.API, 1000) for url in urls], fetcher.hosts

    return asyncio.run(run())


def test_rate_headers_are_read() -> None:
    """Openverse's own, the common ones, and the draft standard's, in seconds or as a moment."""
    assert allowances({"x-ratelimit-limit-burst": "20/min", "x-ratelimit-available-burst": "3"}) == [(3, 20, 60.0)]
    assert allowances({"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}) == [
        (0, 60, 30.0)
    ]
    ((left, limit, seconds),) = allowances({"ratelimit-remaining": "7", "ratelimit-reset": str(int(time.time()) + 90)})
    assert (left, limit) == (7, 0)
    assert 80 < seconds <= 90


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "x-ratelimit-limit-burst",
                "x-ratelimit-available-burst",
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
                "ratelimit-remaining",
                "ratelimit-reset",
            ]
        ),
        st.text(max_size=30) | st.integers().map(str),
    )
)
def test_rate_headers_of_any_kind_are_survived(headers: dict[str, str]) -> None:
    """What a server writes there is never trusted to make sense."""
    for left, limit, period in allowances(headers):
        assert left >= 0
        assert limit >= 0
        assert period >= 0


def test_a_host_that_has_given_all_is_left_alone(web: Web) -> None:
    """With nothing left the host rests until it is filled up again: nothing else is asked of it."""
    empty = {"X-RateLimit-Limit-day": "200/day", "X-RateLimit-Available-day": "0"}
    first, second = get(web.put("/a", b"x", headers=empty), web.put("/b", b"x"))[0]
    assert isinstance(first, Body)
    assert isinstance(second, Refusal)
    assert second.reason is Reason.RATE_LIMITED
    assert web.asked["/b"] == 0


def test_a_host_that_is_nearly_spent_is_asked_as_fast_as_it_fills(web: Web) -> None:
    """Below a quarter of what it gives, requests are spread over the time that it takes to give them."""
    _, learned = get(web.put("/a", b"x", headers={"X-RateLimit-Limit-m": "20/min", "X-RateLimit-Available-m": "4"}))
    assert learned.at(web.url).interval == 3.0


def test_a_host_that_asks_for_patience_is_asked_more_slowly_and_then_faster_again(web: Web) -> None:
    """Each 429 doubles the time between two requests; good answers take it away again, little by little."""
    limited = web.put("/a", b"x", first=[(429, {})])
    (found,), learned = get(limited)
    assert isinstance(found, Body)
    slowed = learned.at(web.url).interval
    assert 0 < slowed < 0.25
    for _ in range(60):
        learned.learn(learned.at(web.url), {})
    assert learned.at(web.url).interval == 0


def test_the_time_between_requests_is_kept(web: Web) -> None:
    """A host that wants a fifth of a second between two requests gets it, also from two at once."""
    moments: list[float] = []

    def note(_query: str) -> tuple[int, dict[str, str], bytes]:
        moments.append(time.monotonic())
        return 200, {}, b"x"

    web.put("/a", b"", compute=note)
    web.put("/robots.txt", b"User-agent: *\nCrawl-delay: 0.2\n")

    async def run() -> None:
        async with Fetcher(CrawlSettings(allow_private_addresses=True)) as fetcher:
            await asyncio.gather(*(fetcher.get(web.url + "/a", Kind.IMAGE, 100) for _ in range(4)))

    asyncio.run(run())
    assert all(later - earlier > 0.15 for earlier, later in itertools.pairwise(moments[1:]))


def test_a_pause_survives_a_restart(project: Project, web: Web) -> None:
    """What a host asked for is in the database before the next request, and a new process obeys it."""
    limited = web.put("/a", b"x", first=[(429, {"Retry-After": "3600"})])

    async def run() -> None:
        async with Ledger(project.database, "me", lambda *_: None) as ledger:
            chosen = CrawlSettings(allow_private_addresses=True)
            async with Fetcher(chosen, (), ledger.remember) as fetcher:
                await fetcher.get(limited, Kind.API, 100)
            await ledger.read(lambda _: None)

    asyncio.run(run())
    with project.database.read() as session:
        (pace,) = known_paces(session)
    assert pace.address == web.url
    assert pace.resume_at is not None
    assert timedelta(minutes=59) < pace.resume_at - datetime.now(UTC) <= timedelta(hours=1)
    (found,), _ = get(web.url + "/b", known=(pace,))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.RATE_LIMITED
    assert web.asked["/b"] == 0


def test_a_pause_that_is_over_binds_nobody(web: Web) -> None:
    """After the time has passed, the host is asked as any other."""
    past = Pace(web.url, datetime.now(UTC) - timedelta(seconds=5), 0.0)
    (found,), _ = get(web.put("/a", b"x"), known=(past,))
    assert isinstance(found, Body)


def test_a_host_that_never_answers_is_given_up(web: Web) -> None:
    """After ten failures in a row nothing more is asked of it in this run; one good answer begins the count anew."""
    web.put("/bad", b"", script=lambda handler: handler.connection.close())
    web.put("/good", b"x")
    bad, good = [web.url + "/bad"] * 9, [web.url + "/good"]
    answers, _ = get(*bad, *good, *bad, *good, attempts=1)
    assert isinstance(answers[-1], Body)
    answers, _ = get(*bad, *bad, *good, attempts=1)
    assert isinstance(answers[-1], Refusal)
    assert "left alone for this run" in answers[-1].detail
    assert answers[-1].reason.passing
