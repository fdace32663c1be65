"""A `curate label watch` that runs beside a test."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Ran
from tests.environment import clean_env
from tests.labelstudio import Desk

_PATIENCE = 120.0


class Watching:
    """A running watch, and what it has said so far."""

    def __init__(self, root: Path, *arguments: str, env: dict[str, str]) -> None:
        self.root = root
        self.lines: list[str] = []
        command = [sys.executable, "-m", "curate", "label", "watch", "--json", "--project", str(root), *arguments]
        self.process = subprocess.Popen(
            command, env=clean_env() | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            asked = time.monotonic()
            if happened():
                return
            assert self.process.poll() is None, f"the watch has ended: {self.lines}"
            assert time.monotonic() < deadline, f"it did not happen: {self.lines}"
            # Longer where asking takes long: whoever is waited for needs the server and the processor, too.
            time.sleep(max(0.02, 2 * (time.monotonic() - asked)))

    def until_said(self, words: str) -> str:
        """Wait until a line holds these words, and give it."""
        self.until(lambda: self.said(words))
        return self.said(words)[0]

    def said(self, words: str) -> list[str]:
        """Lines that hold these words."""
        return [line for line in self.lines if words in line]

    def end(self, number: int = signal.SIGINT) -> Ran:
        """Interrupt it, and give what it left."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.left()

    def left(self) -> Ran:
        """Wait for its end, and give what it left."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait()
        self._reader.join()
        return Ran(code, out, "\n".join(self.lines))

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    @property
    def credentials(self) -> dict[str, Any]:
        """Secret and port."""
        found: dict[str, Any] = json.loads((self.root / ".curate" / "watch" / "credentials.json").read_text())
        return found

    @property
    def url(self) -> str:
        """Where its server is."""
        return f"http://127.0.0.1:{self.credentials['port']}"

    def post(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        """Send something to its server, with the secret unless other headers are given."""
        options.setdefault("headers", {"Curate-Secret": self.credentials["secret"]})
        return httpx.post(self.url + path, trust_env=False, timeout=60, **options)


@contextmanager
def watching(desk: Desk, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Watching]:
    """Watch a desk's project until the end of the context, on any free port; wait until it is at it."""
    found = Watching(desk.root, "--port", "0", *arguments, env=desk.env if env is None else env)
    try:
        found.until_said("a model for Label Studio's settings")
        yield found
    finally:
        found.close()


def hooks(desk: Desk) -> list[dict[str, Any]]:
    """Webhooks of the project on the server."""
    found: list[dict[str, Any]] = desk.studio.ask("GET", "/api/webhooks/", params={"project": desk.number})
    return found
