"""An interrupt that Python forgets is remembered."""

import signal
import sys
import weakref
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from curate.live.interrupts import held, remembered
from curate.live.learning import Learner
from curate.project import Project


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


def test_an_interrupt_waits_for_what_must_not_be_left_half_done() -> None:
    """Raised at its end, once, and remembered; where an error comes out too, the interrupt is what is heard of."""
    done = []

    def work(*, fails: bool) -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append(came.is_set())
            if fails:
                raise LookupError

    with remembered() as came:
        with pytest.raises(KeyboardInterrupt):
            work(fails=False)
        assert done == [False]
        assert came.is_set()
        with pytest.raises(KeyboardInterrupt):
            work(fails=True)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_job_that_begins_as_ctrl_c_comes_is_known_and_stopped(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would go on, and nobody would know of it."""
    job = Mock()

    def begin(*_: object) -> Mock:
        signal.raise_signal(signal.SIGINT)
        return job

    monkeypatch.setattr("curate.live.learning.Job", begin)
    learner = Learner(make_project(), Mock(), 4, lambda _: None, lambda: None)
    with pytest.raises(KeyboardInterrupt):
        learner._start("train")
    learner.stop()
    assert job.stop.called
