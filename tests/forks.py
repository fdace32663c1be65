"""Commands in processes of their own that begin with everything loaded.

Hundreds of tests run `curate`, and loading its libraries takes more processor time than most of what they ask for. So
one process loads them once, and is forked for each command: everything else, from arguments to exit code and signals,
is as in a process that was started. Tests of the start itself, and of kills, start theirs.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_LARGEST = 1 << 17
"""Bytes of a request: arguments and environment."""
_STANDARD = 3
"""File descriptors that a command is given: what it reads, says, and complains to."""
_PACKAGES = ("curate", "db", "labeler", "trainer")


class Forks:
    """The process that is forked, started when it is first asked for."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._address = str(Path(self._folder.name) / "link")
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, arguments: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        if self._process is None:
            self._start()
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8") as err,
            Path(os.devnull).open() as nothing,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link,
        ):
            link.connect(self._address)
            request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
            socket.send_fds(link, [request], [nothing.fileno(), out.fileno(), err.fileno()])
            code = int(link.recv(_LARGEST))
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
        self._folder.cleanup()

    def _start(self) -> None:
        command = [sys.executable, "-m", "tests.forks", self._address]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"


COMMANDS = Forks()
"""Of this test process."""


def _serve(address: str) -> dict[str, str | list[str]]:
    """Fork for each request. Returns in the forked process alone, with what it shall run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(address)
        door.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            link, _ = door.accept()
            with link:
                if os.fork():
                    continue
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                message, files, _, _ = socket.recv_fds(link, _LARGEST, _STANDARD)
                child = os.fork()
                if child:
                    _, status = os.waitpid(child, 0)
                    with suppress(OSError):  # whoever asked has gone
                        link.send(str(os.waitstatus_to_exitcode(status)).encode())
                    os._exit(0)
                for standard, file in enumerate(files):
                    os.dup2(file, standard)
                    os.close(file)
                found: dict[str, str | list[str]] = json.loads(message)
                return found


def _load() -> None:
    for package in _PACKAGES:
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def main() -> None:
    """Load, and serve at the address in the arguments."""
    _load()
    gc.collect()
    gc.freeze()  # what is loaded is shared with every command, until a collection would touch all of it
    request = _serve(sys.argv[1])
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[arg-type]
    sys.argv = ["curate", *request["arguments"]]
    try:
        runpy.run_module("curate", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _leave(int(end.code or 0))


def _leave(code: int) -> NoReturn:
    """End as Python does, but for taking everything that is loaded apart, which would take longest of all."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
