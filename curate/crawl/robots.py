"""What a site asks of crawlers: robots.txt (RFC 9309) and the X-Robots-Tag header."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from protego import Protego

AGENT = "curate"
"""The name that a robots.txt calls us by."""
ROBOTS_BYTES = 512_000
"""Read of a robots.txt; the standard asks for at least 500 KiB."""
_AGENT_LINE = re.compile(r"\s*user[-\s]*agent(?=[\s:])[\s:]*", re.IGNORECASE)
_SOMEBODY = "somebody-else"
"""All whom a robots.txt names beside us. Protego keeps every rule for each name: of 1,000 names and 1,000 rules, 32 kB,
it made 100 MB in 5 s, and what is read may be sixteen times as long."""
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_OPT_OUTS = {"noai", "noimageai", "noindex", "none"}


@dataclass(frozen=True)
class Robots:
    """The rules of one host."""

    rules: Protego

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a robots.txt, whatever it holds."""
        # With a byte order mark the first group would be nobody's.
        lines = data.decode("utf-8-sig", "replace").splitlines()
        return cls(Protego.parse("\n".join(map(_to_us_or_not, lines))))

    @classmethod
    def allow_all(cls) -> Self:
        """Make the rules of a host that has none."""
        return cls(Protego.parse(""))

    def allow(self, url: str) -> bool:
        """Whether we may fetch `url`."""
        return bool(self.rules.can_fetch(url, AGENT))

    @property
    def delay(self) -> float:
        """Seconds between two requests that the host asks for; 0 where it asks for none."""
        return float(self.rules.crawl_delay(AGENT) or 0.0)


def _to_us_or_not(line: str) -> str:
    """Write a line that begins a group so that it names us, everybody, or somebody else; give others as they are."""
    text = line.partition("#")[0]
    found = _AGENT_LINE.match(text)
    if found is None:
        return line
    # A version is no part of a name (RFC 9309, 2.2.1).
    name = text[found.end() :].strip().partition("/")[0].lower()
    name = name if name == "*" else name.replace("*", "")
    return f"User-agent: {name if name in {'', '*', AGENT} else _SOMEBODY}"


def opted_out(header: str) -> bool:
    """Whether an X-Robots-Tag keeps an image from being indexed or learned from."""
    return not _OPT_OUTS.isdisjoint(directives(header))


def directives(header: str) -> set[str]:
    """What an X-Robots-Tag asks of us, in lower case.

    Directives may be meant for one agent: `otherbot: noindex` is not for us. Each line speaks for itself.
    """
    return {word for line in header.lower().split("\n") for word in _for_us(line)}


def _for_us(line: str) -> Iterator[str]:
    agent = ""
    for part in line.split(","):
        name, colon, directive = part.strip().partition(":")
        if colon and name.strip() in _WITH_VALUE:
            continue
        if colon:
            agent = name.strip()
        if agent in {"", AGENT}:
            yield from (directive if colon else name).split()
