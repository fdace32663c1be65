"""A relay that breaks what it passes on at random, from a seed, in every way that a network and a server can."""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

FAULTS = {
    "dropped": "the connection ends before anything was passed on",
    "reset": "the same, and hard",
    "unavailable": "503 before anything was passed on",
    "page": "an HTML page of a proxy that has lost the server",
    "late": "the reply is lost, and the request is served only a while later",
    "lost": "the request is served, its reply is lost",
    "failed": "the request is served, its reply is 500",
    "truncated": "the reply ends early",
    "cut": "half of the reply looks like all of it",
    "slow": "both take their time",
}


@dataclass
class Mischief:
    """A running relay. `share` of the requests meet one of the faults, while it is not 0."""

    upstream: str
    rng: random.Random
    share: float = 0.0
    url: str = ""
    done: Counter[str] = field(default_factory=Counter)
    pending: list[threading.Thread] = field(default_factory=list)

    def fault(self) -> str | None:
        """What goes wrong this time."""
        if self.rng.random() >= self.share:
            return None
        found = self.rng.choice(list(FAULTS))
        self.done[found] += 1
        return found

    def make_peace(self) -> None:
        """From now on nothing goes wrong, and what was late has arrived."""
        self.share = 0.0
        for thread in self.pending:
            thread.join()

    def later(self, seconds: float, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Let a request be served when nobody waits for it any more."""

        def serve() -> None:
            time.sleep(seconds)
            self.serve(method, path, body, headers)

        thread = threading.Thread(target=serve, daemon=True)
        self.pending.append(thread)
        thread.start()

    def serve(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Pass a request on."""
        with httpx.Client(base_url=self.upstream, timeout=60, trust_env=False, verify=False) as client:  # noqa: S501 - HTTP
            return client.request(method, path, content=body, headers=headers)


@contextmanager
def mischief(upstream: str, seed: int) -> Iterator[Mischief]:
    """Relay to `upstream` until the end of the context."""
    state = Mischief(upstream, random.Random(seed))  # noqa: S311 - faults, no secrets
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.make_peace()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: Mischief

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._any()

    def do_POST(self) -> None:
        self._any()

    def do_PATCH(self) -> None:
        self._any()

    def do_DELETE(self) -> None:
        self._any()

    def _any(self) -> None:
        state = self.server.state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "connection"}}
        request = (self.command, self.path, body, headers)
        fault = state.fault()
        self.close_connection = fault is not None
        if fault in {"dropped", "reset", "late"}:
            if fault == "late":
                state.later(state.rng.uniform(0.0, 1.5), *request)
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif fault == "unavailable":
            self._reply(503, b'{"detail": "out of order"}', {"content-type": "application/json"})
        elif fault == "page":
            self._reply(502, b"<html><h1>Bad gateway</h1></html>", {"content-type": "text/html"})
        else:
            self._serve(request, fault)

    def _serve(self, request: tuple[str, str, bytes, dict[str, str]], fault: str | None) -> None:
        state = self.server.state
        if fault == "slow":
            time.sleep(state.rng.uniform(0.0, 0.2))
        answer = state.serve(*request)
        kept = {k: v for k, v in answer.headers.items() if k in {"content-type", "location", "date"}}
        if fault == "failed":
            self._reply(500, b'{"detail": "out of order"}', {"content-type": "application/json"})
        elif fault == "truncated":
            self._reply(answer.status_code, answer.content[: len(answer.content) // 2], kept, len(answer.content) or 1)
        elif fault == "cut":
            self._reply(answer.status_code, answer.content[: len(answer.content) // 2], kept)
        elif fault != "lost":
            self._reply(answer.status_code, answer.content, kept)

    def _reply(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        with suppress(OSError):
            self.send_response_only(status)
            if self.close_connection:
                headers = headers | {"connection": "close"}
            for name, value in (headers | {"content-length": str(len(body) if length is None else length)}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
