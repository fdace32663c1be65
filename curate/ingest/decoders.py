"""Decoding in processes of its own: a picture that crashes, hangs or bloats the decoder costs that picture only.

It also keeps Pillow's and numpy's work off the interpreter that fetches and writes.
"""

import json
import os
import socket
import subprocess
import sys
from queue import LifoQueue
from types import TracebackType
from typing import Any, Self

from curate.config import IngestSettings
from curate.ingest.facts import Facts
from curate.ingest.worker import LENGTH
from db.errors import CurateError
from db.reasons import Reason, Refusal

SECONDS = 60
"""What one image may take. The largest that is taken by default, of 50 megapixels, took up to 3.4."""
_GRACE = 5
"""Seconds in which a process that has lost its pipe should be gone."""
_SEND_BYTES = 1 << 20
"""Asked for; the kernel's own limit may be less. What fits is sent without waiting for the process to read."""
_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "134217728"}
"""Pictures come and go by the megabyte. Given back and asked for anew each time, their pages cost as much as decoding:
8.4 ms a picture of 1024 x 768, 4.6 where glibc keeps the pages."""
ENVIRONMENT = _ONE_THREAD | _KEEP_MEMORY
"""Of a process that decodes."""


class Decoders:
    """A pool of processes, each started when it is first needed, and replaced when it dies.

    `examine` is as `curate.ingest.facts.examine`, and may be called from many threads: each waits for a process.
    """

    def __init__(self, limits: IngestSettings, processes: int | None = None, seconds: int = SECONDS) -> None:
        self._count = processes or os.cpu_count() or 1
        self._closed = False
        # The last one given back is the first one taken: no second process starts while the first is idle.
        self._idle: LifoQueue[_Decoder] = LifoQueue()
        for _ in range(self._count):
            self._idle.put(_Decoder(limits, seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def examine(self, data: bytes) -> Facts | Refusal:
        """Decode `data` fully and give its facts, or why it is not taken. Raises CurateError if no process starts."""
        decoder = self._idle.get()
        try:
            if self._closed:
                raise ValueError("the decoders are closed")
            return decoder.examine(data)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End all processes, after the images that they are at."""
        self._closed = True
        decoders = [self._idle.get() for _ in range(self._count)]
        for decoder in decoders:
            decoder.close()
            self._idle.put(decoder)  # whoever still waits for one learns that they are closed


class _Decoder:
    """One place for a process, used by one thread at a time."""

    def __init__(self, limits: IngestSettings, seconds: int) -> None:
        self._limits = limits
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket

    def examine(self, data: bytes) -> Facts | Refusal:
        try:
            if self._process is None:
                self._start()
            self._send(data)
            return _outcome(self._answer())
        except TimeoutError:
            self._kill()
            return Refusal(Reason.DECODER_ERROR, f"not decoded after {self._seconds} s")
        except OSError:
            return Refusal(Reason.DECODER_ERROR, f"the decoder died: {_cause(self.close())}")
        except BaseException:
            self._kill()  # its answer, still to come, would be taken for the next image's
            raise

    def _start(self) -> None:
        try:
            self._open()
        except OSError as error:
            raise CurateError("no decoding process starts; what it said, if anything, stands above") from error

    def _open(self) -> None:
        # Not pipes: a socket's timeout also ends the sending to a process that does not read.
        self._link, theirs = socket.socketpair()
        self._link.settimeout(SECONDS)
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        try:
            with theirs:
                self._process = self._run(theirs.fileno())
        except OSError:
            self._link.close()
            raise
        self._answer()
        self._link.settimeout(self._seconds)

    def _run(self, link: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - ourselves
            # -P: a file of the working folder must not be imported in a library's place.
            [
                *(sys.executable, "-P", "-m", "curate.ingest.worker"),
                *(self._limits.model_dump_json(), str(2 * self._seconds)),
            ],
            stdin=link,
            stdout=link,
            env=os.environ | ENVIRONMENT,  # there is a process a core already
            process_group=0,  # Ctrl-C is the parent's business
        )

    def _send(self, data: bytes) -> None:
        head = LENGTH.pack(len(data))
        sent = self._link.sendmsg([head, data])  # in one call: each wakes the process
        self._link.sendall(memoryview(data)[sent - len(head) :])  # a head is too short to be sent in part

    def _answer(self) -> dict[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            part = self._link.recv(1 << 16)
            if not part:
                raise ConnectionResetError
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self.close()

    def close(self) -> int:
        """End the process, which ends by itself when its link is closed, and give its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        self._link.close()
        try:
            return process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _outcome(answer: dict[str, Any]) -> Facts | Refusal:
    return Refusal(Reason(answer["reason"]), answer["detail"]) if "reason" in answer else Facts(**answer)


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
