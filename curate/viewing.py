"""`curate ui`: the report served to a browser on this machine, and to nobody else."""

import contextlib
import sys
import threading
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from curate import config
from curate.pages.report import report_page
from curate.progress import Progress
from curate.project import Project
from db.errors import ConfigError, CurateError

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.1
_PIECE = 1 << 16


class Viewer:
    """A server of one page, as a context."""

    def __init__(self, project: Project, port: int, progress: Progress) -> None:
        """Take the port, 0 for any. Raises ConfigError where it is taken."""
        try:
            self._server = _Server((_HOST, port), _Handler)
        except OSError as error:
            raise ConfigError(f"nothing can listen at {_HOST}:{port}: {error.strerror}; name another --port") from error
        self._server.project, self._server.progress = project, progress
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{_HOST}:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self) -> None:
        """Wait for Ctrl-C."""
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    project: Project
    progress: Progress

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.drawing = threading.Lock()
        """One page at a time: each draws on all cores."""

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as its parent says
        """Say in a line what went wrong; that a browser has gone away is nothing."""
        if not isinstance(error := sys.exception(), ConnectionError):
            self.progress.say(f"the page was not shown: {type(error).__name__}: {error}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 60

    def do_GET(self) -> None:
        # Another name for this machine may be a page's of somebody else, who would read what is here. Another port may
        # be a tunnel's.
        if (self.headers["Host"] or "").partition(":")[0] not in {_HOST, "localhost"}:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._show()

    def _show(self) -> None:
        try:
            with self.server.drawing:
                data = "".join(report_page(_as_it_is(self.server.project)).pieces()).encode("utf-8", "replace")
        except CurateError as error:
            self.server.progress.say(str(error))
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the page cannot be made", str(error))
            return
        self.send_response(HTTPStatus.OK)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the page was closed, or is loaded again already
            for start in range(0, len(data), _PIECE):  # the timeout is for all of a write: over a slow line, too little
                self.wfile.write(data[start : start + _PIECE])

    def log_message(self, *_: object) -> None:
        """Say nothing of what is asked for."""


def _as_it_is(project: Project) -> Project:
    """The project by what `curate.toml` says by now."""
    return replace(project, settings=config.load(project.root / config.FILE_NAME))


_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
