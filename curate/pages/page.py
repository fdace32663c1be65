"""The frame of every page: one self-contained file, drawn piece by piece, so that its pictures are never all in memory.

Templates are Jinja2's, which torch brings anyway: it escapes whatever it is handed, and streams. Building the same with
`html.escape` leaves each new place to remember the escape by itself.
"""

import base64
import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from db.files import write_atomically

_MARK = b'<meta name="generator" content="curate">'
_HEAD_BYTES = 2000
"""Within which it stands."""


@dataclass(frozen=True)
class Section:
    """A part of a page, by a template of its own.

    `values` are what the template shows. Iterators among them are drawn from as the page is written.
    """

    key: str
    """Its address within the page."""
    title: str
    lead: str
    """What stands between backticks in it is set as a command is; so in a page's."""
    template: str
    values: Mapping[str, Any]
    count: int | None = None
    """How many things it lists, shown beside its title."""


@dataclass(frozen=True)
class Page:
    """A page: what it is about, figures at its top, then its sections."""

    title: str
    lead: str
    sections: Sequence[Section]
    figures: Sequence[tuple[str, int | str]] = field(default=())
    """What is counted, and how many there are; a share comes as the text that it is shown as."""
    filter_hint: str = ""
    """What the filter box looks at; a page without it has no such box."""
    commands: bool = False
    """Whether its items carry a command to copy."""

    def pieces(self) -> Iterator[str]:
        """The page as text, a little at a time."""
        style, script = _text("page.css"), _text("page.js")
        policy = (
            f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
            " base-uri 'none'; form-action 'none'"
        )
        frame = _templates().get_template("page.html")
        return frame.generate(page=self, policy=policy, style=style, script=script)

    def write(self, path: Path) -> None:
        """Put the page at `path`, whole or not at all. Raises StoreError."""
        write_atomically(path, (piece.encode("utf-8", "replace") for piece in self.pieces()))


def discard_pages(folder: Path) -> None:
    """Take away the pages that lie in `folder`: they may show what is to be seen no longer, and are soon made anew."""
    for path in folder.glob("*.html"):
        with contextlib.suppress(OSError), path.open("rb") as file:  # a folder, a link to nothing: no page of ours
            if _MARK in file.read(_HEAD_BYTES):
                path.unlink()


@functools.cache
def _templates() -> Environment:
    """All templates, every one of which escapes; a value that a template misses is an error, and no blank."""
    environment = Environment(
        loader=PackageLoader("curate.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = _thousands
    return environment


def _thousands(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _text(name: str) -> str:
    return (resources.files("curate.pages") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Name a script or a style by its content, as a policy does: nothing but these exact bytes is run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
