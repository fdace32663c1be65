"""Progress on stderr: a live bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

from curate.cli.harmless import harmless
from curate.progress import QUIET, Task

_EVERY_SECONDS = 10.0
"""Between two lines where nobody watches: enough for a log, too few to fill it."""
_MOMENT_SECONDS = 1.0
_SHORTEST_BAR, _LONGEST_BAR, _WORDS = 5, 40, 75
"""Of a terminal's width names and numbers have so much before the bar has any more."""
_WHOLE = 99.95
"""From here on a rate is told without decimals."""


class Terminal:
    """Shows progress to whoever started the command."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)

    def say(self, message: str) -> None:
        """Tell the user one line."""
        self.console.print(harmless(message), markup=False, emoji=False, soft_wrap=True)

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """Begin a piece of work, shown with its rate and the time left."""
        name = harmless(name)
        if total == 0:
            return QUIET.task(name, total, unit)
        return self._bar(name, total, unit) if self.console.is_terminal else _lines(name, total, unit)

    @contextmanager
    def _bar(self, name: str, total: int | None, unit: str) -> Iterator[Task]:
        bar = BarColumn(bar_width=min(_LONGEST_BAR, max(_SHORTEST_BAR, self.console.width - _WORDS)))
        columns = (SpinnerColumn(), _Word("name"), bar, _Count(), _Time(), _Word("note"))
        with Progress(*columns, console=self.console, transient=False) as shown:
            task = _Bar(shown, shown.add_task("", total=total, name=name, unit=unit, note=""))
            yield task
            task.end()


class _Word(ProgressColumn):
    """A field of the task, cut short where the terminal is narrow: a bar that breaks into lines cannot be read."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def render(self, task: RichTask) -> Text:
        """Render as `predicting by 0001-res…`."""
        return Text(task.fields[self.name], no_wrap=True, overflow="ellipsis")


class _Count(ProgressColumn):
    """How many are done, and how fast; nothing where nothing is counted."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: RichTask) -> Text:
        """Render as `120/3001 images · 85.1/s`."""
        if task.total is None and not task.completed:
            return Text()
        total = f"/{task.total:.0f}" if task.total is not None else ""
        speed = f" · {rate(task.speed)}" if task.speed else ""
        return Text(f"{task.completed:.0f}{total} {task.fields['unit']}{speed}")


class _Time(ProgressColumn):
    """The time left; what has passed where the end is not known, and once it is over."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: RichTask) -> Text:
        """Render as `0:01:46`."""
        known = task.total is not None and not task.finished
        seconds = task.time_remaining if known else task.finished_time or task.elapsed
        return Text("-:--:--" if seconds is None else clock(seconds), style="progress.remaining")


def rate(speed: float) -> str:
    """Three digits where there are fewer, and no powers of ten: `4,712/s`, `85.1/s`, `0.464/s`."""
    return f"{speed:,.0f}/s" if speed >= _WHOLE else f"{speed:.3g}/s"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as a clock has them."""
    return str(timedelta(seconds=round(seconds)))


@dataclass
class _Bar:
    shown: Progress
    number: int  # rich's TaskID

    def advance(self, steps: int = 1) -> None:
        self.shown.advance(self.number, steps)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        self.shown.update(self.number, note=text)  # type: ignore[arg-type]

    def end(self) -> None:
        """Leave what was counted to be read; of work without a count there is nothing to read."""
        (task,) = self.shown.tasks
        self.shown.update(self.number, visible=bool(task.completed or task.total))  # type: ignore[arg-type]


@contextmanager
def _lines(name: str, total: int | None, unit: str) -> Iterator[Task]:
    now = time.monotonic()
    lines = _Lines(name, total, unit, now, now)
    yield lines
    lines.end()


@dataclass
class _Lines:
    name: str
    total: int | None
    unit: str
    started: float
    written: float
    done: int = 0
    noted: str = ""

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        if self.done != self.total and time.monotonic() - self.written >= _EVERY_SECONDS:
            self.write()

    def note(self, text: str) -> None:
        self.noted = text

    def end(self) -> None:
        """Tell what it came to; of work without a count, that was over in a moment, nothing."""
        if self.done or self.total is not None or time.monotonic() - self.started >= _MOMENT_SECONDS:
            self.write(last=True)

    def write(self, *, last: bool = False) -> None:
        self.written = time.monotonic()
        print(f"{self.name}: {self._stand(self.written - self.started, last=last)}", file=sys.stderr)  # noqa: T201 - the one place that writes progress

    def _stand(self, seconds: float, *, last: bool) -> str:
        if self.total is None and not self.done:
            return ", ".join(filter(None, (clock(seconds), self.noted)))
        speed = self.done / max(seconds, 1e-6)
        total = f"/{self.total}" if self.total is not None else ""
        parts = [f"{self.done}{total} {self.unit}", rate(speed)]
        if self.total is not None and speed > 0 and not last:
            parts.append(f"{clock(max(0, self.total - self.done) / speed)} left")
        return ", ".join(filter(None, (*parts, self.noted)))
