"""Many hosts on loopback, each with pictures, some of them troublesome: `python -m tests.manyhosts` serves them.

A server in a process of its own, thin enough that what is measured is the crawler. Hosts are the addresses
127.1.0.1 to 127.1.0.N on one port. `/stats` on the first of them tells what was asked.
"""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLOW, DRIPPING, LIMITED, REDIRECTING = "127.1.0.2", "127.1.0.3", "127.1.0.4", "127.1.0.5"
TROUBLED = (SLOW, DRIPPING, LIMITED, REDIRECTING)
PRIVATE = "http://127.0.0.1:9/private.jpg"
"""Where one host redirects to; the tests let 127.1.0.0/16 count as public, and nothing else."""


@dataclass
class _State:
    files: list[bytes]
    delay: float
    asked: Counter[str] = field(default_factory=Counter)
    limited: int = 0
    at_once: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)


class _Connection(asyncio.Protocol):
    """Speaks as much HTTP as is asked of it."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._buffer = b""
        self._dripping = 0

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._state.at_once[DRIPPING] -= self._dripping

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            host = str(self._transport.get_extra_info("sockname")[0])
            self._answer(host, path)

    def _answer(self, host: str, path: str) -> None:
        state = self._state
        if path == "/stats":
            body = json.dumps({"asked": state.asked, "most": state.most}).encode()
            return self._send(200, body)
        if not path.endswith(".jpg"):
            return self._send(404, b"")
        state.asked[f"{host}{path}"] += 1
        state.at_once[host] += 1
        state.most[host] = max(state.most[host], state.at_once[host])
        state.limited += host == LIMITED
        if host == LIMITED and state.limited % 20 == 1:
            self._send(429, b"", "Retry-After: 1\r\n")
        elif host == REDIRECTING:
            self._send(302, b"", f"Location: {PRIVATE}\r\n")
        elif host == DRIPPING:
            return self._drip()
        elif host == SLOW:
            asyncio.get_running_loop().call_later(state.delay, self._picture, host, path)
            return None
        else:
            return self._picture(host, path)
        state.at_once[host] -= 1
        return None

    def _picture(self, host: str, path: str) -> None:
        number = int(path.strip("/").removesuffix(".jpg"))
        self._state.at_once[host] -= 1
        if number % 50 == 7:
            return self._send(200, b"<html>not a picture")
        if number % 50 == 8:
            return self._send(404, b"")
        return self._send(200, numbered(self._state.files[number % len(self._state.files)], number))

    def _drip(self) -> None:
        self._dripping += 1
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")

        def on() -> None:
            if not self._transport.is_closing():
                self._transport.write(b"x")
                asyncio.get_running_loop().call_later(0.1, on)

        on()

    def _send(self, status: int, body: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: image/jpeg\r\n{more}\r\n"
        self._transport.write(head.encode() + body)


def numbered(data: bytes, number: int) -> bytes:
    """A JPEG with a comment: other bytes, the same picture."""
    comment = f"{number:08d}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


async def _serve(state: _State, hosts: int) -> None:
    loop = asyncio.get_running_loop()
    first = await loop.create_server(lambda: _Connection(state), "127.1.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    for number in range(2, hosts + 1):
        await loop.create_server(lambda: _Connection(state), f"127.1.0.{number}", port)
    print(port, flush=True)  # noqa: T201 - whoever started us reads it
    await first.serve_forever()


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    hosts: int
    pid: int

    def addresses(self, number: int) -> list[str]:
        """Addresses of so many pictures, one host after the other."""
        return [f"http://127.1.0.{n % self.hosts + 1}:{self.port}/{n}.jpg" for n in range(number)]

    def stats(self) -> dict[str, Any]:
        """What was asked so far."""
        with urllib.request.urlopen(f"http://127.1.0.1:{self.port}/stats") as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def serve(folder: Path, hosts: int, delay: float = 1.0) -> Iterator[Served]:
    """Serve the pictures of `folder` from many hosts; the slow one takes `delay` seconds a picture."""
    command = [sys.executable, "-m", "tests.manyhosts", str(folder), str(hosts), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as process:
        assert process.stdout is not None
        try:
            yield Served(int(process.stdout.readline()), hosts, process.pid)
        finally:
            process.kill()


def main(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    folder, hosts, delay = arguments
    files = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
    asyncio.run(_serve(_State(files, float(delay)), int(hosts)))


if __name__ == "__main__":
    main(sys.argv[1:])
