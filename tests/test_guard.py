"""Which addresses may be connected to."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from yarl import URL

from curate.crawl.fetch import Fetcher
from curate.crawl.guard import is_public, parse
from curate.crawl.settings import CrawlSettings
from curate.crawl.wire import Body, Kind, Unchanged
from db.reasons import Reason, Refusal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - an address to be refused
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:53aa:64c:0:0:80ff:fffe",
        "::127.0.0.1",
        "::a00:1",
        "::ffff:0:127.0.0.1",
    ],
)
def test_private_addresses_are_not_public(address: str) -> None:
    """No form of a private, local, multicast or reserved address counts as public."""
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
)
def test_public_addresses_are(address: str) -> None:
    """Hosts of the internet are reached, also through NAT64."""
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://x/y", "data:image/png;base64,AA", "javascript:x", "http:///x", "//x/y", "x.jpg"),
        *("http://[]@", "http://[::1", "http://a:b/", "http://h:99999/"),
    ],
)
def test_only_http_is_taken(url: str) -> None:
    """Every other scheme is refused by an allow-list, and what is no address at all."""
    found = parse(url)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.SCHEME_NOT_ALLOWED


def test_an_address_with_a_user_name_is_refused() -> None:
    """`http://good.example@evil.example/` is not what it looks like."""
    found = parse("http://good.example@evil.example/x.jpg")
    assert isinstance(found, Refusal)
    assert found.reason is Reason.SCHEME_NOT_ALLOWED


def ask(url: str, *, allow_private: bool = False) -> Refusal:
    """Why the fetcher does not get `url`."""

    async def run() -> Body | Unchanged | Refusal:
        async with Fetcher(CrawlSettings(allow_private_addresses=allow_private, attempts=1)) as fetcher:
            return await fetcher.get(url, Kind.API, 1000)

    found = asyncio.run(run())
    assert isinstance(found, Refusal)
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that a socket was connected to; every connection is refused there."""
    found: list[str] = []

    async def sock_connect(_self: object, _socket: socket.socket, address: tuple[str, int]) -> None:
        found.append(address[0])
        raise ConnectionRefusedError(111, "refused by the test")

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", sock_connect)
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]"])
def test_every_way_to_write_loopback_is_blocked(host: str, opened: list[str]) -> None:
    """However a host is written, its resolved address is what counts, and no packet is sent."""
    assert ask(f"http://{host}:9/").reason is Reason.BLOCKED_ADDRESS
    assert opened == []


@pytest.mark.parametrize(
    "host", ["[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "10.0.0.1"]
)
def test_literals_are_checked_as_names_are(host: str, opened: list[str]) -> None:
    """An address needs no look-up, and is refused all the same before a socket is connected."""
    assert ask(f"http://{host}/").reason is Reason.BLOCKED_ADDRESS
    assert opened == []


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let names resolve to each of `answers` in turn."""
    left = list(answers)

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:  # noqa: ANN401 - asyncio's signature
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in left.pop(0)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def test_the_connection_goes_to_the_checked_address(monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    """A name that resolves otherwise the second time gains nothing: it is resolved once."""
    resolving(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    assert ask("http://rebinding.example/").reason is Reason.CONNECTION_FAILED
    assert opened == ["93.184.216.34"]


def test_one_bad_record_refuses(monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    """A name with a public and a private address is refused whole, and the private one is named."""
    resolving(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    found = ask("http://mixed.example/")
    assert found.reason is Reason.BLOCKED_ADDRESS
    assert "10.0.0.1" in found.detail
    assert opened == []


def test_a_name_that_does_not_resolve_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """No DNS is not a refused address."""

    async def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 - asyncio's signature
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", fail)
    assert ask("http://nowhere.invalid/").reason is Reason.DNS_FAILURE


def test_names_of_any_script_are_read() -> None:
    """An international host name is brought to the form that DNS has."""
    found = parse("http://bücher.example/ä.jpg")
    assert isinstance(found, URL)
    assert found.raw_host == "xn--bcher-kva.example"
