"""Progress, as the stages report it. How it is shown is the caller's business; by default it is not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work under way."""

    def advance(self, steps: int = 1) -> None:
        """Count steps done."""

    def note(self, text: str) -> None:
        """Show a short word on how it stands, beside the bar."""


class Progress(Protocol):
    """Where long work and notices are shown."""

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` steps, or of unknown length, counted in `unit`."""

    def say(self, message: str) -> None:
        """Tell the user one line."""


class Quiet:
    """Shows nothing: for library use and tests."""

    def advance(self, steps: int = 1) -> None:
        """Count nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def say(self, message: str) -> None:
        """Say nothing."""

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:  # noqa: ARG002 - the protocol's signature
        """Begin nothing."""
        yield self


class Telling(Quiet):
    """Tells lines, and shows no work: for what goes on beside other work that is shown."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def say(self, message: str) -> None:
        """Tell it."""
        self._tell(message)


QUIET = Quiet()
