"""Progress on stderr: a live bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

from curate.progress import Task

_EVERY_SECONDS = 10.0
"""Between two lines where nobody watches: enough for a log, too few to fill it."""


class Terminal:
    """Shows progress to whoever started the command."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def say(self, message: str) -> None:
        """Tell the user one line."""
        self.console.print(message, markup=False, soft_wrap=True)

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """Begin a piece of work, shown with its rate and the time left."""
        return self._bar(name, total, unit) if self.console.is_terminal else _lines(name, total, unit)

    @contextmanager
    def _bar(self, name: str, total: int | None, unit: str) -> Iterator[Task]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Count(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=False) as shown:
            yield _Bar(shown, shown.add_task(name, total=total, unit=unit, note=""))


class _Count(ProgressColumn):
    """How many are done, and how fast."""

    def render(self, task: RichTask) -> Text:
        """Render as `120/3001 images · 85.1/s`."""
        total = f"/{task.total:.0f}" if task.total is not None else ""
        rate = f" · {task.speed:.3g}/s" if task.speed else ""
        return Text(f"{task.completed:.0f}{total} {task.fields['unit']}{rate}")


@dataclass
class _Bar:
    shown: Progress
    number: int  # rich's TaskID

    def advance(self, steps: int = 1) -> None:
        self.shown.advance(self.number, steps)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        self.shown.update(self.number, note=text)  # type: ignore[arg-type]


@contextmanager
def _lines(name: str, total: int | None, unit: str) -> Iterator[Task]:
    lines = _Lines(name, total, unit)
    yield lines
    lines.write(last=True)


@dataclass
class _Lines:
    name: str
    total: int | None
    unit: str
    done: int = 0
    noted: str = ""
    started: float = field(default_factory=time.monotonic)
    written: float = field(default_factory=time.monotonic)

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        if time.monotonic() - self.written >= _EVERY_SECONDS:
            self.write()

    def note(self, text: str) -> None:
        self.noted = text

    def write(self, *, last: bool = False) -> None:
        self.written = time.monotonic()
        rate = self.done / max(self.written - self.started, 1e-6)
        total = f"/{self.total}" if self.total is not None else ""
        left = ""
        if self.total is not None and rate > 0 and not last:
            left = f", {max(0, self.total - self.done) / rate:.0f} s left"
        note = f", {self.noted}" if self.noted else ""
        print(f"{self.name}: {self.done}{total} {self.unit}, {rate:.3g}/s{left}{note}", file=sys.stderr)  # noqa: T201 - the one place that writes progress
