"""Openverse and Wikimedia Commons on loopback: answers in the form that they have, with their traps left in."""

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hypothesis import strategies as st

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Finder, Page, Question
from tests.engines import SETTINGS
from tests.web import Answer, Web

Sent = tuple[int, dict[str, str], bytes]
Works = Sequence[dict[str, Any]]

_DEPTH = 240
_DEPRECATED = {"li", "lt", "pagesize", "provider"}
_ALLOWED = {
    "license": {"by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd", "cc0", "pdm", "sampling+", "nc-sampling+"},
    "size": {"small", "medium", "large"},
    "aspect_ratio": {"wide", "tall", "square"},
    "category": {"photograph", "illustration", "digitized_artwork"},
}
_WIDTHS = {20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840}


def harvest(finder: Finder, query: str) -> list[tuple[Question, Page]]:
    """Ask a query, all that it leads to, and every page of each, as a crawl with a bottomless appetite does."""

    async def run() -> list[tuple[Question, Page]]:
        waiting, read = [finder.first(query)], list[tuple[Question, Page]]()
        async with Fetcher(SETTINGS) as fetcher:
            while waiting:
                question = waiting.pop(0)
                page = await finder.page(question, fetcher)
                read.append((question, page))
                waiting += page.more
                if page.cursor is not None:
                    waiting.append(Question(question.query, question.part, page.cursor))
        return read

    return asyncio.run(run())


def openverse_work(number: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - what Openverse says of a work
    """What Openverse says of a work."""
    deed = "https://creativecommons.org/licenses/by-sa/2.0/"
    work = {
        "id": f"36537842-b067-4ca0-ad67-{number:012}",
        "title": f"Jazzmaster {number}",
        "foreign_landing_url": f"https://museum.example/works/{number}",
        "url": f"https://museum.example/files/{number}.jpg",
        "creator": "Ann Onymous",
        "creator_url": "https://museum.example/people/ann",
        "license": "by-sa",
        "license_version": "2.0",
        "license_url": deed,
        "provider": "museum",
        "source": "museum",
        "category": "photograph",
        "filesize": 81920,
        "filetype": "jpg",
        "tags": [
            {"name": "guitar", "accuracy": None, "unstable__provider": "museum"},
            {"name": "wood", "accuracy": 0.9},
        ],
        "attribution": f'"Jazzmaster {number}" by Ann Onymous is licensed under CC BY-SA 2.0, see {deed}',
        "mature": False,
        "height": 768,
        "width": 1024,
        "thumbnail": f"https://api.openverse.org/v1/images/{number}/thumb/",
        "detail_url": f"https://api.openverse.org/v1/images/{number}/",
    }
    return work | more


def openverse_page(works: Sequence[Any], page: int = 1, page_size: int = 20, total: int | None = None) -> bytes:
    """One page of works. No count is higher than what the API shows of a query."""
    count = min(len(works) if total is None else total, _DEPTH)
    counts = {"result_count": count, "page_count": min(-(-count // page_size), _DEPTH // page_size)}
    return json.dumps(counts | {"page_size": page_size, "page": page, "results": list(works)}).encode()


@dataclass
class Openverse:
    """An Openverse: what it has, who may ask for larger pages, and what it was asked."""

    works: Works
    credentials: tuple[str, str] = ("client", "5f1d7c9e")
    lifetime: object = 36000
    tokens: list[str] = field(default_factory=list)
    """Those that were given out; one that is taken back is emptied."""
    asked: list[dict[str, str]] = field(default_factory=list)
    with_token: list[str] = field(default_factory=list)
    """What came as Authorization, a request each."""

    def images(self, query: str, authorization: str = "") -> Sent:
        """Answer `GET /v1/images/`."""
        asked = dict(parse_qsl(query))
        self.asked.append(asked)
        self.with_token.append(authorization)
        token = authorization.removeprefix("Bearer ")
        level = "authenticated" if token else "anonymous"
        if token and token not in self.tokens:
            return _json(401, {"detail": "Authentication credentials were not provided."})
        page, size = int(asked.get("page", 1)), int(asked.get("page_size", 20))
        for what, value, most in (("page_size", size, 50 if token else 20), ("pagination depth", page * size, _DEPTH)):
            if value > most:
                return _json(401, {"detail": f"{what} may not exceed {most} for {level} requests"})
        wrong = [key for key in asked if key in _DEPRECATED or asked[key] not in _ALLOWED.get(key, {asked[key]})]
        if wrong or len(asked["q"]) > 200:
            return _json(400, {"error": "InputError", "detail": "Invalid input given for fields.", "fields": wrong})
        found = [work for work in self.works if all(_property(work, key) == asked.get(key) for key in _cut(asked))]
        shown = found[(page - 1) * size : page * size]
        return _sent(200, openverse_page(shown, page, size, len(found) if shown else 0))

    def token(self, path: str, form: dict[str, str]) -> Sent:
        """Answer `POST /v1/auth_tokens/token/`."""
        name, secret = self.credentials
        wanted = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        if path != "/v1/auth_tokens/token/" or form != wanted:
            return _json(401, {"error": "invalid_client"})
        self.tokens.append(f"token-{len(self.tokens)}")
        lasts = {"expires_in": self.lifetime, "token_type": "Bearer", "scope": "read write groups"}
        return _json(200, {"access_token": self.tokens[-1]} | lasts)


def put_openverse(web: Web, works: Works) -> Openverse:
    """Answer as Openverse does, to anybody."""
    openverse = Openverse(works)
    web.pages["/v1/images/"] = Answer(compute=openverse.images)
    return openverse


@contextmanager
def serve_openverse(openverse: Openverse) -> Iterator[str]:
    """Serve an Openverse that gives tokens, and is asked a lot; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            known = parts.path == "/v1/images/"
            authorization = self.headers.get("Authorization", "")
            self.send(*openverse.images(parts.query, authorization) if known else _json(404, {"detail": "Not found."}))

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send(*openverse.token(self.path, form))

        def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _cut(asked: dict[str, str]) -> list[str]:
    return [key for key in _ALLOWED if key in asked]


def _property(work: dict[str, Any], key: str) -> object:
    """Give what the index has of a work: sizes and ratios only of works whose sides are known."""
    width, height = work["width"], work["height"]
    if key in {"size", "aspect_ratio"} and None in {width, height}:
        return None
    if key == "size":
        return "small" if width * height < 640 * 480 else "medium" if width * height < 1600 * 900 else "large"
    if key == "aspect_ratio":
        return "square" if width == height else "wide" if width > height else "tall"
    return work[key]


def commons_file(number: int, said: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """What Commons says of a file; `said` are values of its description page, None for one that is missing there."""
    at = f"upload.wikimedia.org/wikipedia/commons/a/a1/Jazzmaster_{number}.jpg"
    values: dict[str, Any] = {
        "ObjectName": f"Jazzmaster {number}",
        "Artist": '<a href="//commons.wikimedia.org/wiki/User:Ann" title="User:Ann">Ann &amp; Bob</a>',
        "Credit": '<span class="int-own-work" lang="en">Own work</span>',
        "LicenseShortName": "CC BY-SA 3.0",
        "UsageTerms": "Creative Commons Attribution-Share Alike 3.0",
        "AttributionRequired": "true",
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/3.0",
        "Copyrighted": "True",
        "Restrictions": "",
        "License": "cc-by-sa-3.0",
    }
    extmetadata = {
        k: {"value": v, "source": "commons-desc-page"} for k, v in (values | (said or {})).items() if v is not None
    }
    info = {
        "size": 524288,
        "width": 3000,
        "height": 2000,
        "thumburl": f"https://{at.replace('/a/a1/', '/thumb/a/a1/')}/1280px-Jazzmaster_{number}.jpg",
        "thumbwidth": 1280,
        "thumbheight": 853,
        "url": f"https://{at}",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:Jazzmaster_{number}.jpg",
        "sha1": f"{number:040x}",
        "mime": "image/jpeg",
        "extmetadata": extmetadata,
    }
    page = {"pageid": 1000 + number, "ns": 6, "title": f"File:Jazzmaster {number}.jpg", "index": number + 1}
    return page | {"imagerepository": "local", "imageinfo": [info | more]}


def commons_page(files: Sequence[Any], offset: int | None = None) -> bytes:
    """One page of files, in no order at all; without any there is not even a `query`."""
    shuffled = random.Random(0).sample(list(files), len(files))  # noqa: S311 - a shuffle
    answer: dict[str, Any] = {"query": {"pages": shuffled}} if files else {}
    more = {"batchcomplete": True} if offset is None else {"continue": {"gsroffset": offset, "continue": "gsroffset||"}}
    return json.dumps(more | answer).encode()


def put_commons(web: Web, files: Sequence[dict[str, Any]], path: str = "/w/api.php") -> list[dict[str, str]]:
    """Answer as Commons does to the query `jazzmaster`, and give a list of what is asked."""
    asked: list[dict[str, str]] = []

    def compute(query: str) -> Sent:
        words = dict(parse_qsl(query))
        asked.append(words)
        width, start, size = int(words.get("iiurlwidth", 20)), int(words.get("gsroffset", 0)), int(words["gsrlimit"])
        if (words["action"], words["gsrnamespace"], words["formatversion"], words["maxlag"]) != (
            "query",
            "6",
            "2",
            "5",
        ):
            return _json(200, {"error": {"code": "badvalue", "info": "Unrecognized value."}})
        if width not in _WIDTHS or (start and words.get("continue") != "gsroffset||"):
            return _json(200, {"error": {"code": "badcontinue", "info": "Invalid continue param."}})
        found = files if words["gsrsearch"] == "filetype:bitmap jazzmaster" else []
        end = start + size
        return _sent(200, commons_page(found[start:end], end if end < len(found) else None))

    web.pages[path] = Answer(compute=compute)
    return asked


def _json(status: int, body: object) -> Sent:
    return _sent(status, json.dumps(body).encode())


def _sent(status: int, body: bytes) -> Sent:
    """Send rate headers along, of a server that has plenty left: others slow the fetcher down."""
    rates = {"X-RateLimit-Limit-anon_burst": "20/min", "X-RateLimit-Available-anon_burst": "19"}
    return status, {"Content-Type": "application/json; charset=utf-8"} | rates, body


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800\0<b>"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
"""Whatever JSON can say, and some of what it cannot."""


@st.composite
def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], good: object) -> bytes:
    """A good answer with some of its values replaced or taken out, or with a piece of its bytes."""
    answer = deepcopy(good)
    for _ in range(draw(st.integers(1, 4))):
        holder = answer
        while isinstance(holder, dict | list) and holder:
            key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
            if not isinstance(holder[key], dict | list) or not holder[key] or draw(st.integers(0, 5)) == 0:
                holder[key] = draw(ANYTHING)
                break
            holder = holder[key]
    data = json.dumps(answer).encode()
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data
