"""The demo's web: an API like Openverse's and the files it names, on loopback."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from curate.demo.world import Trap, World


@contextmanager
def serve(world: World) -> Iterator[str]:
    """Serve `world` until the end of the context; gives its address."""
    server = _Web(("127.0.0.1", 0), _handler(world))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Web(ThreadingHTTPServer):
    """A visitor that hangs up, as a crawler does with what it has no use for, is no error to be shown."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library has them
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(world: World) -> type[BaseHTTPRequestHandler]:
    asked: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/robots.txt":
                self._send(b"User-agent: *\nAllow: /\n", "text/plain")
            elif parts.path == "/v1/images/":
                asked_for = parse_qs(parts.query)
                url = f"http://{self.headers['Host']}"
                found = world.search(asked_for["q"][0], int(asked_for["page"][0]), url)
                self._send(json.dumps(found).encode(), "application/json")
            else:
                self._send_file(parts.path)

        def _send_file(self, path: str) -> None:
            work = world.works.get(path)
            if work is None or work.trap is Trap.GONE:
                return self._send(b"not here", "text/plain", HTTPStatus.NOT_FOUND)
            if work.trap is Trap.BUSY and path not in asked:
                asked.add(path)
                return self._send(b"", "text/plain", HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "1"})
            return self._send(world.file(work), "image/jpeg")

        def _send(
            self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, more: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
