"""When the watch looks for labels next: at once after a hint, and at a rest that grows with the trust in hints."""

import time
from collections import deque

POLL_SECONDS = 5.0
QUIET_SECONDS = 60.0
"""Between two looks without a hint, where hints are known to arrive."""
_LOOK_AGAIN_SECONDS = 2.0
"""After a hint that nothing was found for: the server may have sent it before its transaction was over."""
_GAP_SECONDS = 1.0
"""At least, between two looks, however many hints come."""
_WORTH = 10
"""A look that takes long on a large project is followed by so many times its length of rest."""
_NEWS_SECONDS = 10.0
"""Between two lines that tell of answers."""
_RATE_SECONDS = 900.0
_MISSED = 2
"""Looks in a row that found answers no hint had told of, after which hints are taken for lost."""


class Pulse:
    """What was found, look by look."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._ended = self._began
        self._told = self._began - _NEWS_SECONDS
        self._untold = 0
        self._found: deque[tuple[float, int]] = deque()
        self._heard = False
        self._missed = 0
        self._first = True
        self._pause = 0.0

    def beat(self, answers: int, *, hinted: bool, took: float) -> None:
        """Note a look that found so many answers, after a hint or without one, and took so many seconds."""
        self._ended = time.monotonic()
        self._untold += answers
        self._heard = self._heard or hinted
        if hinted:
            self._missed = 0
        elif answers and not self._first:  # the first look finds what was done before
            self._missed += 1
        if not self._first:
            self._found.append((self._ended, answers))
        if self._first:
            self._began, self._first = self._ended, False
        resting = QUIET_SECONDS if self._heard and not self.deaf else POLL_SECONDS
        self._pause = _LOOK_AGAIN_SECONDS if hinted and not answers else max(resting, _WORTH * took)

    @property
    def deaf(self) -> bool:
        """Whether hints do not arrive."""
        return self._missed >= _MISSED

    def forgive(self) -> None:
        """Begin to trust in hints anew."""
        self._missed = 0

    def pause(self) -> float:
        """Seconds to wait for a hint before the next look."""
        left = self._told + _NEWS_SECONDS - time.monotonic()
        return max(0.0, min(self._pause, left)) if self._untold else self._pause

    def gap(self) -> float:
        """Seconds that must pass before the next look, hint or not."""
        return max(0.0, self._ended + _GAP_SECONDS - time.monotonic())

    def news(self) -> int:
        """Answers to tell of now: those since the last time, or none while that is too short ago."""
        if not self._untold or time.monotonic() - self._told < _NEWS_SECONDS:
            return 0
        found, self._untold, self._told = self._untold, 0, time.monotonic()
        return found

    def rate(self) -> float:
        """Answers an hour, over the last quarter of an hour; 0 in the first minute, when nothing can be said."""
        now = time.monotonic()
        while self._found and self._found[0][0] < now - _RATE_SECONDS:
            self._found.popleft()
        seconds = min(now - self._began, _RATE_SECONDS)
        return sum(answers for _, answers in self._found) * 3600 / seconds if seconds >= 60 else 0.0  # noqa: PLR2004
