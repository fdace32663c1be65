"""A hook at each durable boundary, so that a test can stop the real program exactly there.

`fault("name")` does nothing until `arm` is called, which only the command line does, and only when
`CURATE_FAULT` asks for it: `name`, or `name:3` for the third time that boundary is passed.
"""

import os
import signal
from collections.abc import Callable

_armed: Callable[[str], None] | None = None


def fault(name: str) -> None:
    """Mark a durable boundary."""
    if _armed is not None:
        _armed(name)


def arm(setting: str) -> None:
    """Die by SIGKILL, as in a power cut, at the boundary that `setting` names."""
    name, _, count = setting.partition(":")
    left = int(count or 1)

    def die(here: str) -> None:
        nonlocal left
        if here == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    global _armed  # noqa: PLW0603 - one process, one fault: a parameter through every layer would be worse
    _armed = die
