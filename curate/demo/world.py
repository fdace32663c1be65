"""What there is to find in the demo's web: drawings of every class, and among them the traps of the real one."""

import hashlib
import io
import random
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Any

from PIL import Image

from curate.demo.draw import draw

PAGE_SIZE = 20
_SIDE = 240
_SHOWN = 0.8
"""Share of a class's works that each single query finds: several queries overlap, and none finds all."""


class Trap(Enum):
    """What is odd about a work."""

    NONE = auto()
    OTHER_CLASS = auto()
    """A search brought a guitar of another class."""
    EXACT_COPY = auto()
    RESIZED = auto()
    REENCODED = auto()
    CUT_OFF = auto()
    HTML = auto()
    GONE = auto()
    BUSY = auto()
    """The first answer is 429 with Retry-After."""
    GIANT = auto()


_PER_CLASS = {
    Trap.OTHER_CLASS: 3,
    Trap.EXACT_COPY: 2,
    Trap.RESIZED: 3,
    Trap.REENCODED: 2,
    Trap.CUT_OFF: 1,
    Trap.HTML: 1,
    Trap.GONE: 1,
    Trap.BUSY: 1,
}


@dataclass(frozen=True)
class Work:
    """One result of a search. `shows` is the class that a person would see on it."""

    path: str
    title: str
    shows: str
    seed: int
    trap: Trap


@dataclass
class World:
    """All works of one seed, `each` originals a class. Drawn when asked for; safe to ask from several threads."""

    seed: int
    queries: Mapping[str, Sequence[str]]
    each: int
    works: dict[str, Work] = field(init=False)
    truth: dict[str, str] = field(default_factory=dict)
    """The class shown by each file that was served, by its SHA-256."""
    _found: dict[str, list[Work]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        by_class = {name: self._works_of(name) for name in self.queries}
        self.works = {work.path: work for works in by_class.values() for work in works}
        for name, queries in self.queries.items():
            for query in queries:
                shown = list(by_class[name])
                random.Random(f"{self.seed} {query}").shuffle(shown)  # noqa: S311 - a demo, not a secret
                self._found[query] = shown[: round(len(shown) * _SHOWN)]

    def _works_of(self, name: str) -> list[Work]:
        others = [other for other in self.queries if other != name]
        rng = random.Random(f"{self.seed} {name}")  # noqa: S311 - a demo, not a secret
        traps = [Trap.NONE] * self.each + [trap for trap, count in _PER_CLASS.items() for _ in range(count)]
        if name == next(iter(self.queries)):
            traps.append(Trap.GIANT)
        works = []
        for number, trap in enumerate(traps):
            shows = rng.choice(others) if trap is Trap.OTHER_CLASS else name
            # A copy is drawn by the seed of an original, and then changed.
            copied = trap in {Trap.EXACT_COPY, Trap.RESIZED, Trap.REENCODED}
            seed = self._seed(name, rng.randrange(self.each) if copied else number)
            works.append(Work(f"/files/{name}-{number}.jpg", f"{name} no. {number}", shows, seed, trap))
        return works

    def _seed(self, name: str, number: int) -> int:
        return zlib.crc32(f"{self.seed} {name} {number}".encode())

    def search(self, query: str, page: int, url: str) -> dict[str, Any]:
        """Answer a search as Openverse does; `url` is where the works lie."""
        found = self._found.get(query) or list(self.works.values())  # whoever asks for anything gets everything
        shown = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        return {
            "result_count": len(found),
            "page_count": -(-len(found) // PAGE_SIZE),
            "page_size": PAGE_SIZE,
            "page": page,
            "results": [_described(work, url) for work in shown],
        }

    def file(self, work: Work) -> bytes:
        """The bytes of a work's file."""
        data = _file(work)
        with self._lock:
            self.truth[hashlib.sha256(data).hexdigest()] = work.shows
        return data

    def held_out(self, each: int) -> list[tuple[str, bytes]]:
        """Drawings that are in no search, `each` of every class: the class and the file."""
        return [
            (name, _jpeg(draw(name, self._seed(name, -1 - number), _SIDE)))
            for name in self.queries
            for number in range(each)
        ]


def _described(work: Work, url: str) -> dict[str, Any]:
    return {
        "id": hashlib.md5(work.path.encode(), usedforsecurity=False).hexdigest(),
        "title": work.title,
        "url": url + work.path,
        "foreign_landing_url": f"{url}/works{work.path.removesuffix('.jpg')}",
        "creator": "curate demo",
        "creator_url": None,
        "license": "cc0",
        "license_version": "1.0",
        "license_url": "https://creativecommons.org/publicdomain/zero/1.0/",
        "attribution": f'"{work.title}" by curate demo is marked with CC0 1.0.',
        "provider": "demo",
        "source": "demo",
        "category": "illustration",
        "tags": [],
        "mature": False,
    }


def _file(work: Work) -> bytes:
    if work.trap is Trap.HTML:
        return b"<!doctype html><title>Sign in</title><p>Please sign in to see this picture."
    if work.trap is Trap.GIANT:
        return _giant()
    picture = draw(work.shows, work.seed, _SIDE)
    if work.trap is Trap.RESIZED:
        side = _SIDE * 2 // 3
        return _jpeg(picture.resize((side, side), Image.Resampling.LANCZOS))
    if work.trap is Trap.REENCODED:
        return _jpeg(picture, quality=72)
    data = _jpeg(picture)
    return data[: len(data) // 2] if work.trap is Trap.CUT_OFF else data


def _jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


@cache
def _giant() -> bytes:
    """A file of 50 kB that would take 432 MB of memory decoded."""
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, "PNG")
    return out.getvalue()
