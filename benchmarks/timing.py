"""Timing of calls, alternated so that a machine that slows down slows all of them, and figures as lines of JSON."""

import json
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from statistics import median

Timed = Mapping[str, Callable[[], object]]
Seconds = dict[str, list[float]]


def alternated(calls: Timed, rounds: int = 5) -> Seconds:
    """Run each call in turn, `rounds` times, and give the seconds by the wall clock that each took."""
    took: Seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            took[name].append(time.perf_counter() - started)
    return took


def ratio(took: Seconds, slow: str, fast: str) -> float:
    """Say how many times as long `slow` took as `fast` in the same round: the median."""
    return median(a / b for a, b in zip(took[slow], took[fast], strict=True))


def figure(name: str, **values: object) -> str:
    """One line of JSON; numbers are cut to three digits that say something."""
    return json.dumps({"figure": name} | {key: _short(value) for key, value in values.items()})


def absent(module: str, extra: str = "bench") -> str | None:
    """A figure that says a rival is not installed, or None."""
    return None if find_spec(module) else figure(module, absent=f"not installed: pip install 'curate[{extra}]'")


def _short(value: object) -> object:
    return float(f"{value:.3g}") if isinstance(value, float) else value
