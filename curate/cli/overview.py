"""What `--help` shows of the commands: in the order of the work, and whole sentences."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

STAGES = {
    "The project": ("init", "config", "classes", "status", "report", "ui", "doctor", "db"),
    "Images": ("crawl", "import", "dedup", "quality", "why", "forget"),
    "Labels": ("label", "next", "prelabel", "audit"),
    "Networks": ("split", "train", "predict", "evaluate", "compare", "explain", "robustness", "distill"),
    "Rounds": ("loop", "simulate", "demo"),
    "For other programs": ("export", "export-model"),
}
_ENOUGH = 1000
"""Letters of the longest sentence."""


class Overview(TyperGroup):
    """A group of commands that lists each with its first sentence, broken into lines and never cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer vendors click's classes
        """Write the list; of the whole program stage by stage."""
        stages = STAGES if ctx.parent is None else {"Commands": list(self.commands)}
        for title, names in stages.items():
            self._write(formatter, title, names)

    def _write(self, formatter: Any, title: str, names: Sequence[str]) -> None:  # noqa: ANN401 - see above
        width = max(map(len, self.commands))
        rows = [(name.ljust(width), self.commands[name].get_short_help_str(_ENOUGH)) for name in names]
        with formatter.section(title):
            formatter.write_dl(rows)
