"""A command of curate in the background: a process of its own, out of the way of people and of the server they use."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_NICE = 10
_STOP_SECONDS = 20.0
"""For a training to end in order: it hears a signal between two batches."""
_LOGS = 20
"""Of earlier jobs that are kept."""
_ERROR = "curate: error: "


@dataclass(frozen=True, slots=True)
class Ended:
    """What a job came to: its JSON, or why there is none."""

    data: dict[str, Any] | None
    problem: str
    log: Path


class Job:
    """One command. `ended` is called, from another thread, when it is over."""

    def __init__(
        self, arguments: Sequence[str], root: Path, folder: Path, settings: dict[str, str], ended: Callable[[], None]
    ) -> None:
        self.name = arguments[0]
        self.log = _new_log(folder, self.name)
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the job
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                # Not from the folder it stands in: that is the user's, and may hold a torch.py.
                [sys.executable, "-P", "-m", "curate", *arguments, "--json", "--project", str(root)],
                env=_environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is ours to pass on
            )
        with contextlib.suppress(OSError):  # it is over already
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)
        threading.Thread(target=self._await, args=(ended,), name=self.name, daemon=True).start()

    def result(self) -> Ended | None:
        """Say what it came to, or None while it goes on."""
        code = self._process.poll()
        if code is None:
            return None
        with self._out as out:
            out.seek(0)
            said = out.read()
        if code == 0:
            return Ended(json.loads(said), "", self.log)
        return Ended(None, _problem(code, self.log), self.log)

    def terminate(self) -> None:
        """Ask it to stop, as Ctrl-C would."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Stop it, and see to it that it has ended. What it did can be gone on with."""
        self.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._out.close()

    def _await(self, ended: Callable[[], None]) -> None:
        self._process.wait()
        ended()


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """The user's, with at most half of the cores for arithmetic: niceness alone leaves caches and memory to share."""
    kept = {key: value for key, value in os.environ.items() if key != "CURATE_FAULT"}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // 2))} | kept | settings


def _new_log(folder: Path, name: str) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[:-_LOGS]:
        old.unlink(missing_ok=True)
    return folder / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}.log"


def _problem(code: int, log: Path) -> str:
    """Say in one line why a command failed: in its own words, where it had any."""
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return (errors or lines or [f"it ended with {code}"])[-1]
