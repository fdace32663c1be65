"""Which addresses may be connected to: what a crawled page links to must never reach into a private network.

Names and literals alike are resolved once, every address of the answer is checked, and the connection goes to the
checked address itself: a second look-up could answer otherwise (DNS rebinding).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

import httpcore
import httpx

from db.reasons import Reason, Refusal

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_SCHEMES = {"http", "https"}

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class BlockedAddressError(Exception):
    """A host resolves to an address that must not be connected to."""


class UnknownHostError(Exception):
    """A host name does not resolve."""


def is_public(address: IPAddress) -> bool:
    """Whether an address is a host on the public internet, whichever way it is written.

    IPv6 forms that carry an IPv4 address are judged by that: `is_global` is true for NAT64 and 6to4 forms of loopback.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def parse(url: str) -> httpx.URL | Refusal:
    """Read a URL from the web; only http(s) with a host and without a password in it is taken."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, f"no URL: {error}")
    if parsed.scheme not in _SCHEMES or not parsed.host:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, parsed.scheme or "no scheme")
    if parsed.userinfo:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, "the address carries a user name")
    return parsed


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore, to checked addresses alone."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, after checking all of them."""
        addresses = await self._resolve(host, port)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise UnknownHostError(host)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[IPAddress]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnknownHostError(f"{host}: {error}") from error
        # A scope such as fe80::1%eth0 is no part of the address.
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        bad = [address for address in addresses if not is_public(address)]
        if bad and not self._allow_private:
            raise BlockedAddressError(f"{host} is {bad[0]}, no public address")
        return list(dict.fromkeys(addresses))
