"""What others wrote, shown so that no terminal obeys it: titles come from the web, file names from anybody."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    127: 0x2421,
    **dict.fromkeys(range(128, 160), 0xFFFD),
}
"""Unicode has a picture of each control character; of those above 127 it has none."""


def harmless(text: str) -> str:
    """Give `text` with pictures in the place of control characters."""
    return text.translate(_PICTURES)


class Harmless:
    """Anything that Rich shows, its colours left and control characters within its text made harmless."""

    def __init__(self, shown: RenderableType) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it."""
        for segment in console.render(self.shown, options):
            yield Segment(harmless(segment.text), segment.style, segment.control)
