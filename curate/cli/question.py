"""A question to whoever sits at the terminal, where somebody does."""

import sys
from collections.abc import Callable

import typer


def question() -> Callable[[str], bool] | None:
    """Give a way to ask yes or no, no unless told; None where nobody can answer."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return _ask


def _ask(words: str) -> bool:
    try:
        return typer.confirm(words, default=False, err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        raise KeyboardInterrupt from None
