"""Which addresses may be connected to: what a crawled page links to must never reach into a private network.

Names and literals alike are resolved once, every address of the answer is checked, and the connection goes to the
checked address itself: a second look-up could answer otherwise (DNS rebinding). The check is made again where the
socket is opened, which also sees hosts written as numbers.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType
from yarl import URL

from db.reasons import Reason, Refusal

_CARRIERS = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""Of an IPv4 address in the last 32 bits: NAT64, IPv4-compatible and IPv4-translated."""
_SCHEMES = {"http", "https"}
NO_URL = (ValueError, TypeError, IndexError)
"""What yarl raises for what it cannot read; the last for `http://[]@`."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class BlockedAddressError(OSError):
    """A host resolves to an address that must not be connected to."""


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
    if any(address in network for network in _CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def parse(url: str) -> URL | Refusal:
    """Read a URL from the web; only http(s) with a host and without a user name in it is taken."""
    try:
        parsed = URL(url)
        host = parsed.host
        port = parsed.port
    except NO_URL as error:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, f"no URL: {error}")
    if parsed.scheme not in _SCHEMES or not host or not port:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, parsed.scheme or "no scheme")
    if parsed.user is not None or parsed.password is not None:
        return Refusal(Reason.SCHEME_NOT_ALLOWED, "the address carries a user name")
    canonical = _canonical(host)
    return parsed if canonical == host else parsed.with_host(canonical)


def _canonical(host: str) -> str:
    """Write a host that is a number (`127.1`, `2130706433`, `0x7f000001`, `0177.0.0.1`) as browsers take it."""
    if not host[0].isdigit():
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return host


def host_of(url: str) -> str:
    """Scheme, name and port of an address, as `candidates.host` keeps it; empty where it is no web address."""
    parsed = parse(url)
    return "" if isinstance(parsed, Refusal) else origin(parsed)


def origin(url: URL) -> str:
    """Scheme, name and port of a URL that `parse` took."""
    return f"{url.scheme}://{url.authority}"


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp, to checked addresses alone; one bad record refuses the name whole."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give every address of `host`. Raises BlockedAddressError, or OSError where there is none."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(f"{host}: {error}") from error
        addresses = list(dict.fromkeys((entry[0], str(entry[4][0])) for entry in found))
        for _, address in addresses:
            self.check(address, host)
        return [_result(host, address, port, kind) for kind, address in addresses]

    def check(self, address: str, host: str) -> None:
        """Raise BlockedAddressError for an address that is not public."""
        # A scope such as fe80::1%eth0 is no part of the address.
        if not self._allow_private and not is_public(ipaddress.ip_address(address.partition("%")[0])):
            raise BlockedAddressError(f"{host} is {address}, no public address")

    def socket_factory(self) -> Callable[[AddrInfoType], socket.socket]:
        """Make what opens aiohttp's sockets: the last look at an address, and the only one at a literal."""

        def opened(info: AddrInfoType) -> socket.socket:
            address = str(info[4][0])
            self.check(address, address)
            return socket.socket(info[0], info[1], info[2])

        return opened

    async def close(self) -> None:
        """Have nothing to let go of."""


def _result(host: str, address: str, port: int, family: int) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
