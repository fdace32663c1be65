"""An interrupt that Python forgets is remembered."""

import signal
import sys
import weakref

import pytest

from curate.live.interrupts import remembered


class Thing:
    """Something to refer to."""


def test_an_interrupt_within_a_callback_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is printed of it, though of anything else that is forgotten so; afterwards all is what it was."""
    told = []
    show = lambda what: told.append(what.exc_type)  # noqa: E731 - to be found again below
    monkeypatch.setattr(sys, "unraisablehook", show)
    before = signal.getsignal(signal.SIGINT)

    def interrupted(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    def broken(_: object) -> None:
        raise LookupError

    with remembered() as came:
        for callback in (interrupted, broken):
            thing = Thing()
            seen = weakref.ref(thing, callback)
            del thing
            assert seen() is None
            assert came.is_set()
    assert told == [LookupError]
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == (before, show)


def test_an_interrupt_is_raised_all_the_same() -> None:
    """Where nothing swallows it."""
    with remembered() as came:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert came.is_set()
