"""Opening the labelling page signed in, without a password to copy.

Cookies ignore ports: so a page of ours on another port of the same host may set Label Studio's session cookie, and send
the browser on. It answers once, at an address that nobody can guess, and is gone.
"""

import secrets
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import urlsplit

import httpx

from db.errors import LabelStudioError

_WAIT_SECONDS = 60
_POLL_SECONDS = 0.1


def session_cookie(url: str, user: str, password: str) -> str:
    """Sign in as a browser would, and give the session's cookie. Raises LabelStudioError."""
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as browser:
            browser.get("/user/login/")
            form = {
                "csrfmiddlewaretoken": browser.cookies.get("csrftoken", ""),
                "email": user,
                "password": password,
                "persist_session": "on",
            }
            browser.post("/user/login/", data=form, headers={"Referer": f"{url}/user/login/"})
            cookie = browser.cookies.get("sessionid")
    except httpx.TransportError as error:
        raise LabelStudioError(f"no Label Studio answers at {url} ({type(error).__name__})") from None
    if cookie is None:
        raise LabelStudioError(f"Label Studio at {url} does not take its own password; was it changed there?")
    return cookie


def open_signed_in(target: str, cookie: str, open_browser: Callable[[str], bool] = webbrowser.open) -> bool:
    """Open `target` in a browser that carries `cookie`; tell whether a browser came for it."""
    path = f"/{secrets.token_urlsafe(24)}"
    came = Event()

    class Hand(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path != path or came.is_set():
                self.send_error(404)
                return
            self.send_response(303)
            self.send_header("Set-Cookie", f"sessionid={cookie}; Path=/; HttpOnly; SameSite=Lax")
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            """Keep the address out of the terminal."""

    host = urlsplit(target).hostname or "127.0.0.1"
    # Threads: browsers open connections ahead that ask nothing, and another of them may be the one that asks.
    with ThreadingHTTPServer((host, 0), Hand) as server:
        server.daemon_threads = True
        # Beside us: a browser that is opened in this terminal comes before the call that opened it is over.
        serving = Thread(target=server.serve_forever, args=(_POLL_SECONDS,))
        serving.start()
        try:
            if open_browser(f"http://{host}:{server.server_port}{path}"):
                came.wait(_WAIT_SECONDS)
        finally:
            server.shutdown()
            serving.join()
    return came.is_set()
