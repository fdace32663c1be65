"""A small web on loopback, as hostile as the real one: each path is one fault."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Web:
    """A running server: what it serves by path, and what it was asked."""

    url: str = ""
    pages: dict[str, "Answer"] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, body: bytes, **more: Any) -> str:  # noqa: ANN401 - fields of Answer
        """Serve `body` at `path`, and give its address."""
        self.pages[path] = Answer(body, **more)
        return self.url + path

    def put_openverse(self, works: Callable[[str], list[dict[str, Any]]], page_size: int = 20) -> None:
        """Answer as Openverse does, with what `works` has for a query."""

        def answer(query: str) -> tuple[int, dict[str, str], bytes]:
            asked = parse_qs(query)
            found, page = works(asked["q"][0]), int(asked["page"][0])
            start = (page - 1) * page_size
            body = {
                "result_count": len(found),
                "page_count": -(-len(found) // page_size),
                "page_size": page_size,
                "page": page,
                "results": found[start : start + page_size],
            }
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

        self.pages["/v1/images/"] = Answer(compute=answer)


@dataclass
class Answer:
    """What one path answers. `script`, if given, is what happens on the raw connection instead."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    first: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers of the first answers, before the real one."""
    script: Callable[[BaseHTTPRequestHandler], None] | None = None
    compute: Callable[[str], tuple[int, dict[str, str], bytes]] | None = None


@contextmanager
def serve(host: str = "127.0.0.1") -> Iterator[Web]:  # noqa: C901 - one handler, told at one place
    """Serve a web until the end of the context."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            with web.lock:
                web.asked[parts.path] += 1
                web.headers.append(dict(self.headers))
                web.at_once += 1
                web.most_at_once = max(web.most_at_once, web.at_once)
            try:
                self.answer(web.pages.get(parts.path), parts.query)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with web.lock:
                    web.at_once -= 1

        def answer(self, found: Answer | None, query: str) -> None:
            if found is None:
                return self.send(404, {}, b"not here")
            time.sleep(found.delay)
            if found.first:
                status, headers = found.first.pop(0)
                return self.send(status, headers, b"")
            if found.script is not None:
                found.script(self)
                self.close_connection = True
                return None
            if found.compute is not None:
                return self.send(*found.compute(query))
            return self.send(found.status, found.headers, found.body)

        def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not {name.lower() for name in headers} & {"content-length", "transfer-encoding"}:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    web.url = f"http://{host}:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
