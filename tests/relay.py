"""A relay before a real server, that breaks what it is told to break, and remembers what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass
class Relay:
    """A running relay. `faults` says what goes wrong, by method and end of the path.

    `lost`: the request is passed on, and its reply is dropped. A number: that status instead of an answer. An address:
    a redirect there. Bytes: that JSON for an answer. Each happens every time, until it is taken out.
    """

    upstream: str
    url: str = ""
    faults: dict[tuple[str, str], str | int | bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def fault(self, method: str, path: str) -> str | int | bytes | None:
        """Say what goes wrong with this request."""
        for (verb, end), what in self.faults.items():
            if verb in {method, "*"} and path.partition("?")[0].endswith(end):
                return what
        return None


@contextmanager
def relay(upstream: str, port: int = 0) -> Iterator[Relay]:
    """Relay to `upstream` until the end of the context; after it nobody answers at that address."""
    state = Relay(upstream)
    server = _Server(("127.0.0.1", port), _Handler)
    server.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: Relay


class _Handler(BaseHTTPRequestHandler):
    server: _Server

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
        state.asked.append((self.command, self.path))
        fault = state.fault(self.command, self.path)
        if isinstance(fault, int):
            self._reply(fault, b'{"detail": "out of order"}', {"Content-Type": "application/json"})
        elif isinstance(fault, bytes):
            self._reply(200, fault, {"Content-Type": "application/json"})
        elif fault is not None and fault != "lost":
            self._reply(307, b"", {"Location": fault + self.path})
        else:
            self._forward(body, lost=fault == "lost")

    def _forward(self, body: bytes, *, lost: bool) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "connection"}}
        with httpx.Client(base_url=self.server.state.upstream, timeout=60, trust_env=False, verify=False) as client:  # noqa: S501 - HTTP
            answer = client.request(self.command, self.path, content=body, headers=headers)
        if not lost:
            kept = {k: v for k, v in answer.headers.items() if k in {"content-type", "location"}}
            self._reply(answer.status_code, answer.content, kept)

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
