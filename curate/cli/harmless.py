"""Text from the web, or a file's name, as a terminal may show it: nothing in it commands the terminal."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    127: 0x2421,
    **dict.fromkeys(range(128, 160), 0xFFFD),
}
"""Unicode has a picture of each control character; of those above 127 it has none."""


def harmless(text: str) -> str:
    """Give `text` with pictures in the place of control characters."""
    return text.translate(_PICTURES)


@dataclass(frozen=True)
class Harmless:
    """Whatever Rich can draw, without commands in its text; those that Rich gives itself stay."""

    drawn: "RenderableType"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it."""
        from rich.segment import Segment
        from rich.text import Text

        drawn = Text(self.drawn) if isinstance(self.drawn, str) else self.drawn
        for segment in console.render(drawn, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)
