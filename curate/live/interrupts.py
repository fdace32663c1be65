"""Ctrl-C that is not lost.

Python raises it wherever the program is. Within a finaliser or the callback of a weak reference it is printed and
forgotten, and what runs for days would go on as if nobody had asked it to end.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered() -> Iterator[threading.Event]:
    """Inside this context an interrupt also sets the event. Other threads than the main one hear of none."""
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield came
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        before(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
