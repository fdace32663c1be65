"""An interrupt that Python forgets is remembered."""

import signal
import sys
import weakref

import pytest

from curate.live.interrupts import remembered


class Thing:
    """Something to refer to."""


def test_an_interrupt_within_a_callback_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python prints it and goes on; afterwards Ctrl-C is what it was."""
    forgotten = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: forgotten.append(what.exc_type))
    before = signal.getsignal(signal.SIGINT)

    def callback(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with remembered() as came:
        thing = Thing()
        seen = weakref.ref(thing, callback)
        del thing
        assert seen() is None
        assert came.is_set()
    assert forgotten == [KeyboardInterrupt]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_raised_all_the_same() -> None:
    """Where nothing swallows it."""
    with remembered() as came:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert came.is_set()
