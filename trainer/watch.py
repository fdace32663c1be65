"""How a run tells where it stands. What becomes of it is the caller's business."""

from typing import Any, Protocol


class Watcher(Protocol):
    """Told what happens, from the thread that trains."""

    def begin(self, name: str, total: int) -> None:
        """Begin a piece of work of `total` images."""

    def advance(self, images: int) -> None:
        """Count images done of the piece of work begun last."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Show what an epoch came to: a line of `metrics.jsonl`."""

    def say(self, message: str) -> None:
        """Tell the user one line."""

    def saved(self, what: str) -> None:
        """Mark that `what` is on disk, whole."""


class Silent:
    """Tells nobody."""

    def begin(self, name: str, total: int) -> None:
        """Say nothing."""

    def advance(self, images: int) -> None:
        """Say nothing."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Say nothing."""

    def say(self, message: str) -> None:
        """Say nothing."""

    def saved(self, what: str) -> None:
        """Say nothing."""


SILENT = Silent()
