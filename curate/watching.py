"""What the trainer does, shown as this program's progress."""

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self

from curate.progress import Progress, Task
from db.faults import fault
from trainer.watch import Watcher


def watched(progress: Progress) -> AbstractContextManager[Watcher]:
    """Show what the trainer does as this program's progress, inside this context."""
    return _Shown(progress)


class _Shown:
    """The trainer's watcher, shown as this program's progress."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stack = ExitStack()
        self.task: Task | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self.stack.__exit__(kind, error, trace)

    def begin(self, name: str, total: int) -> None:
        self.stack.close()
        self.task = self.stack.enter_context(self.progress.task(name, total, "images"))

    def advance(self, images: int) -> None:
        if self.task is not None:
            self.task.advance(images)

    def epoch(self, metrics: dict[str, Any]) -> None:
        if self.task is not None:
            star = " (best)" if metrics["best"] else ""
            self.task.note(f"epoch {metrics['epoch']}: validation accuracy {metrics['validation_accuracy']:.3f}{star}")

    def say(self, message: str) -> None:
        self.progress.say(message)

    def saved(self, what: str) -> None:
        fault(f"{what}.saved")
