"""The fetcher against a real hostile server: capped, timed, guarded, paced."""

import asyncio
import gzip
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from curate.crawl import fetch
from curate.crawl.fetch import Fetcher
from curate.crawl.robots import Robots, opted_out
from curate.crawl.settings import CrawlSettings
from curate.crawl.wire import Body, Kind, Unchanged, retry_after
from db.reasons import Reason, Refusal
from tests.web import Web, serve


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds."""
    monkeypatch.setattr(fetch, "_FIRST_BACKOFF_SECONDS", 0.01)


def get(
    *urls: str, kind: Kind = Kind.IMAGE, max_bytes: int = 1_000_000, **settings: object
) -> list[Body | Unchanged | Refusal]:
    """Fetch addresses side by side, by one fetcher that may reach loopback."""
    chosen = CrawlSettings.model_validate({"allow_private_addresses": True, "deadline_seconds": 5} | settings)

    async def run() -> list[Body | Unchanged | Refusal]:
        async with Fetcher(chosen) as fetcher:
            return list(await asyncio.gather(*(fetcher.get(url, kind, max_bytes) for url in urls)))

    return asyncio.run(run())


def refusal(*args: Any, **settings: Any) -> Refusal:  # noqa: ANN401
    """Why a single address was refused."""
    (found,) = get(*args, **settings)
    assert isinstance(found, Refusal), found
    return found


def test_a_file_comes_whole(web: Web) -> None:
    """The bytes, the last address and the headers are given; we say who we are, and ask for plain bytes."""
    (found,) = get(web.put("/a.jpg", b"x" * 70_000), contact="me@example.org")
    assert isinstance(found, Body)
    assert (found.data, found.url) == (b"x" * 70_000, web.url + "/a.jpg")
    asked = web.headers[-1]
    assert asked["User-Agent"].startswith("curate/")
    assert "me@example.org" in asked["User-Agent"]
    assert asked["Accept-Encoding"] == "identity"


def test_loopback_is_blocked_unless_allowed(web: Web) -> None:
    """A page that links into the local network gets nothing, also by way of a redirect."""
    inside = web.put("/secret.jpg", b"x")
    assert refusal(inside, allow_private_addresses=False).reason is Reason.BLOCKED_ADDRESS
    assert web.asked.total() == 0


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", Reason.SCHEME_NOT_ALLOWED),
        ("http://me:pw@127.0.0.1/", Reason.SCHEME_NOT_ALLOWED),
        ("http://[]@", Reason.SCHEME_NOT_ALLOWED),
    ],
)
def test_every_hop_is_checked(web: Web, target: str, reason: Reason) -> None:
    """A redirect to what may not be asked for is refused as if it had been asked for."""
    assert refusal(web.put("/go", b"", status=302, headers={"Location": target})).reason is reason


def test_redirects_are_followed_and_end(web: Web) -> None:
    """Five hops are followed, relative ones too; a loop is not."""
    for hop in range(4):
        web.put(f"/{hop}", b"", status=301, headers={"Location": f"/{hop + 1}"})
    web.put("/4", b"here")
    (found,) = get(web.url + "/0")
    assert isinstance(found, Body)
    assert found.data == b"here"
    loop = web.put("/loop", b"", status=302, headers={"Location": "/loop"})
    assert refusal(loop).reason is Reason.TOO_MANY_REDIRECTS
    assert web.asked["/loop"] == 6


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "10000000000"}, {"Transfer-Encoding": "chunked"}])
def test_an_endless_body_is_cut_at_the_cap(web: Web, headers: dict[str, str]) -> None:
    """With, without or with a false length, reading stops at the cap and memory stays flat."""

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        block = b"x" * 65_536
        piece = b"10000\r\n" + block + b"\r\n" if "Transfer-Encoding" in headers else block
        for _ in range(150_000):  # 10 GB
            handler.wfile.write(piece)

    web.put("/flood", b"", script=flood)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(web.url + "/flood").reason is Reason.TOO_MANY_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_compressed_body_is_refused(web: Web) -> None:
    """What was not asked for compressed is not unpacked: a bomb stays a few bytes."""
    bomb = gzip.compress(bytes(10_000_000))
    assert refusal(web.put("/bomb", bomb, headers={"Content-Encoding": "gzip"})).reason is Reason.ENCODED_BODY


def test_nothing_said_of_an_encoding_is_none(web: Web) -> None:
    """A header without a value names no encoding."""
    assert isinstance(get(web.put("/plain", b"x", headers={"Content-Encoding": ""}))[0], Body)


def test_what_is_said_of_a_failure_is_short(web: Web) -> None:
    """Pages of garbage in place of an answer, or in a header, are told in one line."""
    web.put("/garbage", b"", script=lambda handler: handler.wfile.write(b"\xff\xd8\n" * 2000))
    opted = web.put("/long", b"x", headers={"X-Robots-Tag": "noai, " * 900})
    for url in (web.url + "/garbage", opted):
        assert 0 < len(refusal(url, attempts=1).detail) <= 200
        assert "\n" not in refusal(url, attempts=1).detail


def test_a_dripping_server_is_timed_out_while_others_go_on(web: Web) -> None:
    """A byte at a time never trips a read timeout: the total deadline does, and another host is served meanwhile."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    web.put("/drip", b"", script=drip)
    with serve() as other:
        started = time.monotonic()
        slow, quick = get(web.url + "/drip", other.put("/a.jpg", b"x"), deadline_seconds=0.5, attempts=1)
    assert isinstance(slow, Refusal)
    assert slow.reason is Reason.TIMEOUT
    assert isinstance(quick, Body)
    assert time.monotonic() - started < 4


def test_a_short_body_is_tried_again(web: Web) -> None:
    """Fewer bytes than were announced are no image; the next try may bring all."""

    def short(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 500)

    web.put("/short", b"", script=short)
    assert refusal(web.url + "/short").reason is Reason.SHORT_BODY
    assert web.asked["/short"] == 3


@pytest.mark.parametrize("status", [404, 410, 401, 403])
def test_a_final_answer_is_not_asked_twice(web: Web, status: int) -> None:
    """What the server does not give it will not give a second later."""
    found = refusal(web.put("/x", b"", status=status))
    assert (found.reason, found.http_status, web.asked["/x"]) == (Reason.HTTP_4XX, status, 1)


def test_a_server_error_is_tried_again(web: Web) -> None:
    """Two failures and a success are a success."""
    (found,) = get(web.put("/x", b"here", first=[(500, {}), (502, {})]))
    assert isinstance(found, Body)
    refused = refusal(web.put("/y", b"", status=503))
    assert (refused.reason, refused.http_status, web.asked["/y"]) == (Reason.HTTP_5XX, 503, 3)


def test_retry_after_pauses_the_whole_host(web: Web) -> None:
    """After a 429 nothing else is asked of that host until it may be."""
    moments: list[float] = []

    def note(_query: str) -> tuple[int, dict[str, str], bytes]:
        moments.append(time.monotonic())
        return 200, {}, b"x"

    limited = web.put("/limited", b"x", first=[(429, {"Retry-After": "1"})])
    web.put("/other", b"", compute=note)
    started = time.monotonic()
    first, second = get(limited, web.url + "/other", per_host=1)
    assert isinstance(first, Body)
    assert isinstance(second, Body)
    assert moments[0] - started >= 1


@pytest.mark.parametrize(
    "value",
    ["86400", format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)],
    ids=["seconds", "date"],  # not by value: each worker has its own
)
def test_a_host_that_asks_for_too_long_is_left_for_later(web: Web, value: str) -> None:
    """An absurd pause is not waited for: the host's files wait for another run, untried."""
    web.put("/a", b"x", first=[(429, {"Retry-After": value})])
    web.put("/b", b"x")
    first, second = get(web.url + "/a", web.url + "/b", per_host=1)
    for found in (first, second):
        assert isinstance(found, Refusal)
        assert found.reason is Reason.RATE_LIMITED
    assert web.asked["/b"] == 0
    assert Reason.RATE_LIMITED.passing


def test_retry_after_is_read_in_every_form() -> None:
    """Seconds, a date, a date gone by, and garbage."""
    assert retry_after("17") == 17
    soon = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert soon is not None
    assert 55 < soon <= 60
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    for garbage in ("", "soon", "-5", "1e9"):
        assert retry_after(garbage) is None


def test_hosts_are_asked_two_at_a_time(web: Web) -> None:
    """However many addresses of one host there are, two are asked for at once."""
    urls = [web.put(f"/{n}.jpg", b"x", delay=0.05) for n in range(10)]
    assert all(isinstance(found, Body) for found in get(*urls))
    assert web.most_at_once == 2


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda handler: handler.connection.close(), Reason.CONNECTION_FAILED),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), Reason.CONNECTION_FAILED),
    ],
)
def test_broken_connections_are_told_apart(
    web: Web, script: Callable[[BaseHTTPRequestHandler], None], reason: Reason
) -> None:
    """A reset and a server that speaks no HTTP are failures of the connection."""
    web.put("/x", b"", script=script)
    assert refusal(web.url + "/x", attempts=1).reason is reason


def test_a_closed_port_and_a_tls_failure_have_their_reasons(web: Web) -> None:
    """Nobody listening is one thing, a server without TLS another."""
    assert refusal("http://127.0.0.1:9/x", attempts=1).reason is Reason.CONNECTION_FAILED
    secure = web.url.replace("http:", "https:") + "/x"
    assert refusal(secure, attempts=1).reason is Reason.TLS_FAILURE


def test_a_proxy_in_the_environment_is_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard cannot be bypassed by having somebody else connect."""
    with serve() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert isinstance(get(web.put("/a", b"x"))[0], Body)
        assert proxy.asked.total() == 0


def test_robots_txt_is_obeyed(web: Web) -> None:
    """What it forbids is not asked for; wildcards count; it is read once a host; APIs have their own terms."""
    rules = b"User-agent: curate\nDisallow: /private/\nDisallow: /*.gif$\n\nUser-agent: other\nDisallow: /\n"
    web.put("/robots.txt", rules)
    for path in ("/private/a.jpg", "/b.gif", "/c.jpg"):
        web.put(path, b"x")
    private, animated, allowed = get(web.url + "/private/a.jpg", web.url + "/b.gif", web.url + "/c.jpg")
    for found in (private, animated):
        assert isinstance(found, Refusal)
        assert found.reason is Reason.ROBOTS_DISALLOWED
    assert isinstance(allowed, Body)
    assert (web.asked["/robots.txt"], web.asked["/private/a.jpg"]) == (1, 0)
    assert isinstance(get(web.url + "/private/a.jpg", kind=Kind.API)[0], Body)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("agent", [b"*", b"curate", b"Curate/0.1", b"curate/2 # all of them"])
def test_robots_txt_is_read_as_it_was_meant(mark: bytes, agent: bytes) -> None:
    """A byte order mark is no letter of it, and a version no part of a crawler's name."""
    rules = Robots.parse(mark + b"User-agent: " + agent + b"\nDisallow: /a\n")
    assert not rules.allow("http://x.example/a.jpg")
    assert rules.allow("http://x.example/b.jpg")


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        (b"User-agent: a\nUser-agent: curate\nDisallow: /\n", False),
        (b"user agent: *\nDisallow: /\n", False),
        (b"User-agent curate\rDisallow: /\r", False),
        (b"User-agent: cur\nUser-agent: curate-b\nDisallow: /\n", True),
        (b"User-agent: a\nDisallow: /\nUser-agent: curate\nUser-agent: b\nDisallow: /x\n", True),
        (b"# User-agent: *\nDisallow: /\n", True),
        (b"User-agent: a\nDisallow: /\nUser-agent:\nDisallow: /\n", True),
    ],
)
def test_rules_for_others_are_not_ours(rules: bytes, allowed: bool) -> None:
    """A group is ours if one of its names is, and no other is, however the line is written that begins it."""
    assert Robots.parse(rules).allow("http://x.example/a.jpg") is allowed


def test_robots_txt_that_names_everybody_is_no_trap() -> None:
    """A thousand rules for a thousand names are a thousand rules, not a million."""
    names = b"".join(b"User-agent: bot%d\n" % n for n in range(1000))
    paths = b"".join(b"Disallow: /%d\n" % n for n in range(1000))
    rules = Robots.parse(names + paths + b"User-agent: *\nDisallow: /a\n")
    assert len(rules.rules._user_agents) == 2
    assert not rules.allow("http://x.example/a.jpg")


def test_robots_txt_that_cannot_be_read_forbids_for_now(web: Web) -> None:
    """A failing server is left alone and may be asked in a later run; of a huge file the head is obeyed."""
    web.put("/robots.txt", b"", status=500)
    web.put("/a.jpg", b"x")
    found = refusal(web.url + "/a.jpg", attempts=1)
    assert (found.reason, web.asked["/a.jpg"]) == (Reason.HTTP_5XX, 0)
    web.put("/robots.txt", b"User-agent: *\nDisallow: /b\n" + b"#" * 3_000_000)
    allowed, forbidden = get(web.url + "/a.jpg", web.url + "/b.jpg")
    assert isinstance(allowed, Body)
    assert isinstance(forbidden, Refusal)
    assert forbidden.reason is Reason.ROBOTS_DISALLOWED


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("noai", True),
        ("NoImageAI", True),
        ("noarchive, noindex", True),
        ("otherbot: noindex", False),
        ("otherbot: noindex, noai", False),
        ("otherbot: noindex\nnoai", True),
        ("curate: noai", True),
        ("noarchive", False),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", False),
        ("", False),
    ],
)
def test_opt_outs_are_read(header: str, ours: bool) -> None:
    """X-Robots-Tag counts where it is meant for us or for all."""
    assert opted_out(header) is ours


def test_an_image_that_opts_out_is_not_taken(web: Web) -> None:
    """The header on the image itself decides, before its bytes are read."""
    assert refusal(web.put("/a.jpg", b"x", headers={"X-Robots-Tag": "noai"})).reason is Reason.OPTED_OUT


def test_a_known_version_is_not_sent_again(web: Web) -> None:
    """With what the server said of a version, it is asked for another one only."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        same = handler.headers["If-None-Match"] == '"1"' and handler.headers["If-Modified-Since"] == "yesterday"
        handler.send_response(304 if same else 200)
        handler.send_header("ETag", '"1"')
        handler.send_header("Last-Modified", "yesterday")
        handler.send_header("Content-Length", "0" if same else "4")
        handler.end_headers()
        handler.wfile.write(b"" if same else b"here")

    web.put("/a", b"", script=answer)
    (first,) = get(web.url + "/a")
    assert isinstance(first, Body)

    async def again() -> Body | Unchanged | Refusal:
        async with Fetcher(CrawlSettings(allow_private_addresses=True)) as fetcher:
            return await fetcher.get(web.url + "/a", Kind.IMAGE, 100, seen=first.seen)

    assert isinstance(asyncio.run(again()), Unchanged)


def test_a_credential_goes_to_its_host_and_no_other(web: Web) -> None:
    """A redirect to another host is followed without the header; to the same host with it."""
    with serve() as elsewhere:
        elsewhere.put("/there", b"x")
        web.put("/away", b"", status=302, headers={"Location": elsewhere.url + "/there"})
        web.put("/near", b"", status=302, headers={"Location": "/here"})
        web.put("/here", b"x")

        async def run() -> None:
            async with Fetcher(CrawlSettings(allow_private_addresses=True)) as fetcher:
                for path in ("/away", "/near"):
                    await fetcher.get(web.url + path, Kind.API, 100, headers={"Authorization": "Bearer secret"})

        asyncio.run(run())
        assert "Authorization" not in elsewhere.headers[-1]
    assert web.headers[-1]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("name", ["ETag", "Last-Modified", "X-Robots-Tag", "Content-Encoding"])
def test_headers_may_hold_any_bytes(web: Web, name: str) -> None:
    """What is kept of them is text that a database takes: one server must not end a crawl for all."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n%s: noai, \xff\r\nContent-Length: 1\r\n\r\nx" % name.encode())

    web.put("/x", b"", script=answer)
    (found,) = get(web.url + "/x")
    kept = (
        found.detail if isinstance(found, Refusal) else found.headers[name.lower()] if isinstance(found, Body) else ""
    )
    assert kept.encode().endswith(b"noai, %FF")


def test_a_redirect_is_followed_to_any_bytes(web: Web) -> None:
    """An address that is sent unescaped, in whatever encoding, is asked for byte by byte."""

    def away(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /gr\xfcn.jpg\r\nContent-Length: 0\r\n\r\n")

    web.put("/x", b"", script=away)
    web.put("/gr%FCn.jpg", b"here")
    (found,) = get(web.url + "/x")
    assert isinstance(found, Body)
    assert found.data == b"here"


def test_a_304_that_nobody_asked_for_is_a_refusal(web: Web) -> None:
    """Without a version to compare with there is nothing that could be unchanged."""
    found = refusal(web.put("/x", b"", status=304))
    assert (found.reason, found.http_status) == (Reason.HTTP_4XX, 304)


def test_a_hiccup_of_robots_txt_does_not_lose_the_host(web: Web) -> None:
    """It is asked for again before the host is given up for the run; one that is sent compressed allows nothing."""
    web.put("/robots.txt", b"User-agent: *\nDisallow: /b\n", first=[(500, {})])
    allowed, forbidden = get(web.put("/a", b"x"), web.put("/b", b"x"))
    assert isinstance(allowed, Body)
    assert isinstance(forbidden, Refusal)
    assert forbidden.reason is Reason.ROBOTS_DISALLOWED
    web.put("/robots.txt", b"??", headers={"Content-Encoding": "gzip"})
    assert refusal(web.url + "/a").reason is Reason.ENCODED_BODY


@pytest.mark.parametrize(
    "value", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "1 Jan 2027 00:00 +999999999999999"]
)
def test_no_retry_after_raises(web: Web, value: str) -> None:
    """A date that no calendar has is garbage like any other."""
    (found,) = get(web.put("/x", b"here", first=[(429, {"Retry-After": value})]))
    assert isinstance(found, Body)
