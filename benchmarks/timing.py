"""Timing of calls, alternated so that a machine that slows down slows all of them."""

import time
from collections.abc import Callable, Mapping

Timed = Mapping[str, Callable[[], object]]


def alternated(calls: Timed, rounds: int = 3) -> dict[str, float]:
    """Run each call in turn, `rounds` times, and give the least seconds that each took."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - started)
    return best
