"""Ctrl-C that is not lost.

Python raises it wherever the program is. Within a finaliser or the callback of a weak reference it is printed and
forgotten, and what waits for people for hours would go on as if nobody had asked it to end.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered() -> Iterator[threading.Event]:
    """Inside this context an interrupt also sets the event. Other threads than the main one hear of none.

    Where Python forgets it, it does not print it either: whoever looks at the event ends in order.
    """
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    show = sys.unraisablehook
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield came
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        before(number, frame)

    def show_others(forgotten: "sys.UnraisableHookArgs") -> None:
        if not (came.is_set() and isinstance(forgotten.exc_value, KeyboardInterrupt)):
            show(forgotten)

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = show_others
    try:
        yield came
    finally:
        sys.unraisablehook = show
        signal.signal(signal.SIGINT, before)


@contextmanager
def held() -> Iterator[None]:
    """Let an interrupt wait for the end of this context: for what must not be left half done, and takes a moment."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            before(*waiting[0])
