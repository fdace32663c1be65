"""The one small server that Label Studio calls: its webhook, and the routes of a machine learning backend.

Whoever asks must carry the secret, in our webhook's header or as the password of HTTP basic authentication, and is
refused before a byte of the body is read. Bodies, connections and the time that a request may take to arrive are
bounded. Nothing of a request is logged.
"""

import base64
import binascii
import hmac
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from labeler.backend import Backend, Reply
from labeler.hooks import HEADER

USER = "curate"
"""Name for basic authentication; the password is the secret."""
LARGEST_HINT = 1_000_000
LARGEST_REQUEST = 32_000_000
"""Bytes of a body: 5,000 tasks as Label Studio sends them are some 4 MB."""
_CONNECTIONS = 32
_ARRIVAL_SECONDS = 20.0
"""For a whole request, however slowly its bytes drip."""
_DRAINED = 4_000_000
_STARTS_TRAINING = "START_TRAINING"


@dataclass(frozen=True)
class Door:
    """What stands behind the server, and the secret that opens it."""

    secret: str = field(repr=False)
    backend: Backend
    changed: Callable[[], None]
    """Told that something changed in Label Studio."""
    train: Callable[[], None]
    """Told that somebody pressed "Start training" there."""


class LiveServer:
    """The server, from `with` to its end. Raises OSError where the address is taken."""

    def __init__(self, host: str, port: int, door: Door) -> None:
        family, address = _resolved(host, port)
        self._server = _Server(family, address, door)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="live", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def answered(self) -> Mapping[int, int]:
        """How many requests got which status."""
        return dict(self._server.answered)

    def url(self, seen_from: str) -> str:
        """Address under which the Label Studio at the address `seen_from` reaches it, as far as can be known here."""
        host = str(self._server.server_address[0])
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            host = _own_address(seen_from)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, address


def _own_address(url: str) -> str:
    """Address of the interface that leads to `url`. A UDP socket that is connected sends nothing."""
    parts = urlsplit(url)
    try:
        family, _, _, _, address = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, family: socket.AddressFamily, address: Any, door: Door) -> None:  # noqa: ANN401 - by family
        self.address_family = family
        self.door = door
        self.answered: Counter[int] = Counter()
        self.arriving: dict[socket.socket, float] = {}
        """Connections whose request has not arrived whole, and when they began."""
        self._guard = threading.Lock()
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's types
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._guard:
            self.arriving[request] = time.monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.arrived(request)
            self._room.release()

    def arrived(self, request: socket.socket) -> None:
        """Note that a request is here whole: what is done with it may take longer."""
        with self._guard:
            self.arriving.pop(request, None)

    def service_actions(self) -> None:
        """Cut off whoever takes too long to send a request: a timeout of the socket alone bounds each byte."""
        oldest = time.monotonic() - _ARRIVAL_SECONDS
        with self._guard:
            late = [request for request, began in self.arriving.items() if began < oldest]
        for request in late:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Keep to itself that a client went away."""

    def count(self, status: int) -> None:
        with self._guard:
            self.answered[status] += 1


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "curate"
    sys_version = ""
    timeout = 10  # seconds for each read and write

    def do_GET(self) -> None:
        backend = self.server.door.backend
        self._route({"/health": lambda _: backend.health(), "/versions": lambda _: backend.versions()})

    def do_POST(self) -> None:
        backend = self.server.door.backend
        self._route({"/webhook": self._hint, "/setup": lambda _: backend.setup(), "/predict": backend.predict})

    def _route(self, routes: dict[str, Callable[[Any], Reply]]) -> None:
        path = urlsplit(self.path).path.rstrip("/")
        if not self._knows_the_secret():
            return self._refuse(HTTPStatus.UNAUTHORIZED)
        handler = routes.get(path)
        if handler is None:
            return self._refuse(HTTPStatus.NOT_FOUND)
        length = self._length()
        if length is None:
            return self._refuse(HTTPStatus.LENGTH_REQUIRED)
        if length > (LARGEST_HINT if path == "/webhook" else LARGEST_REQUEST):
            if path == "/webhook":  # too much to be read, but it is ours, and says that something changed
                self.server.door.changed()
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        data = self.rfile.read(length)
        self.server.arrived(self.connection)
        if len(data) < length:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        return self._send(self._handled(handler, data))

    def _handled(self, handler: Callable[[Any], Reply], data: bytes) -> Reply:
        try:
            body = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            return Reply(HTTPStatus.BAD_REQUEST, {"error": "no JSON"})
        try:
            return handler(body)
        except Exception as error:  # noqa: BLE001 - whatever it is, Label Studio is told, and the watch goes on
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}: {error}"})

    def _hint(self, body: Any) -> Reply:  # noqa: ANN401 - any JSON
        action = body.get("action") if isinstance(body, dict) else None
        if not isinstance(action, str):
            return Reply(HTTPStatus.BAD_REQUEST, {"error": "no action"})
        if action == _STARTS_TRAINING:
            self.server.door.train()
        else:
            self.server.door.changed()
        return Reply(HTTPStatus.OK, {"status": "heard"})

    def _knows_the_secret(self) -> bool:
        secret = self.server.door.secret.encode()
        header, password = self.headers.get(HEADER, ""), _password(self.headers.get("Authorization", ""))
        found = [hmac.compare_digest(word.encode(errors="replace"), secret) for word in (header, password)]
        return any(found)

    def _length(self) -> int | None:
        """Bytes of the body, or None where that is not said: a chunked one has no bound."""
        if self.headers.get("Transfer-Encoding"):
            return None
        said = self.headers.get("Content-Length", "0" if self.command == "GET" else "")
        return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None  # noqa: PLR2004 - digits

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(Reply(status, {"error": status.phrase}))
        # Closed with bytes unread, the connection would be reset, and the answer lost with it.
        left = min(self._length() or 0, _DRAINED)
        with suppress(OSError):
            while left > 0 and (piece := self.rfile.read1(min(left, 65536))):
                left -= len(piece)

    def _send(self, reply: Reply) -> None:
        self.server.count(reply.status)
        body = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        if reply.status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="curate"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep addresses and headers out of the terminal."""


def _password(authorization: str) -> str:
    kind, _, coded = authorization.partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        return base64.b64decode(coded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
