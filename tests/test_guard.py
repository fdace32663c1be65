"""Which addresses may be connected to."""

import asyncio
import ipaddress
import socket
from typing import Any

import httpcore
import httpx
import pytest

from curate.crawl.guard import BlockedAddressError, GuardedBackend, UnknownHostError, is_public, parse
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
    ["file:///etc/passwd", "ftp://x/y", "data:image/png;base64,AA", "javascript:x", "http:///x", "//x/y", "x.jpg"],
)
def test_only_http_is_taken(url: str) -> None:
    """Every other scheme is refused by an allow-list."""
    found = parse(url)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.SCHEME_NOT_ALLOWED


def test_an_address_with_a_user_name_is_refused() -> None:
    """`http://good.example@evil.example/` is not what it looks like."""
    found = parse("http://good.example@evil.example/x.jpg")
    assert isinstance(found, Refusal)
    assert found.reason is Reason.SCHEME_NOT_ALLOWED


def connect(host: str, *, allow_private: bool = False) -> None:
    """Try to open a connection."""
    asyncio.run(GuardedBackend(allow_private=allow_private).connect_tcp(host, 9, timeout=1))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "::1"])
def test_every_way_to_write_loopback_is_blocked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a host is written, its resolved address is what counts, and no packet is sent."""

    def never(*_: Any, **__: Any) -> None:  # noqa: ANN401 - however it is called
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", never)
    with pytest.raises(BlockedAddressError):
        connect(host)


class _Inner:
    """What the guard connects by; notes where to."""

    def __init__(self) -> None:
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:  # noqa: ANN401
        self.connected.append(host)
        return httpcore.AsyncMockStream([])


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> _Inner:
    """Let names resolve to each of `answers` in turn, and note what is connected to."""
    left = list(answers)

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:  # noqa: ANN401 - asyncio's signature
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in left.pop(0)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    inner = _Inner()
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", lambda _self, *a, **k: inner.connect_tcp(*a, **k))
    return inner


def test_the_connection_goes_to_the_checked_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves otherwise the second time gains nothing: it is resolved once."""
    inner = resolving(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    connect("rebinding.example")
    assert inner.connected == ["93.184.216.34"]


def test_one_bad_record_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address is refused whole."""
    inner = resolving(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(BlockedAddressError, match=r"10\.0\.0\.1"):
        connect("mixed.example")
    assert inner.connected == []


def test_a_name_that_does_not_resolve_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """No DNS is not a refused address."""

    async def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 - asyncio's signature
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", fail)
    with pytest.raises(UnknownHostError):
        connect("nowhere.invalid")


def test_names_of_any_script_are_read() -> None:
    """An international host name is brought to the form that DNS has."""
    found = parse("http://bücher.example/ä.jpg")
    assert isinstance(found, httpx.URL)
    assert found.raw_host == b"xn--bcher-kva.example"
