"""The process that decodes images for `curate.ingest.decoders`, so that a decoder's crash costs one image.

It is sent frames on stdin, eight bytes of length and then an image's bytes, and answers each with one line of JSON on
stdout: the image's facts, or why it is not taken. The first line, an empty object, says that it is ready. It ends with
its input, hence also when the parent is killed. It shares the parent's rights: it is no sandbox.
"""

import io
import json
import os
import resource
import signal
import struct
import sys
from dataclasses import asdict, dataclass
from typing import BinaryIO

import cv2
from PIL import AvifImagePlugin, Image

from curate.ingest.facts import Limits, examine

LENGTH = struct.Struct(">Q")
_BASE_BYTES = 1 << 29
"""Python, its libraries and their buffers; 110 MB when measured."""
_PIXEL_BYTES = 32
"""A decoded picture in all the copies that are made of it. The most measured was 23, of a transparent WebP."""


@dataclass(frozen=True)
class _Sent:
    """The settings of ingest, as they came. To load what checks them takes 0.12 s of the 0.57 of a start."""

    max_pixels: int
    min_side: int
    max_bytes: int


def serve(frames: BinaryIO, answers: BinaryIO, limits: Limits, seconds: int) -> None:
    """Answer frame after frame until there are no more. Dies of SIGALRM in an image that takes longer than that."""
    _say(answers, {})
    while head := frames.read(LENGTH.size):
        (length,) = LENGTH.unpack(head)
        # The parent kills a worker that hangs. Should the parent be killed meanwhile, nobody would.
        signal.alarm(seconds)
        _say(answers, asdict(examine(frames.read(length), limits)))
        signal.alarm(0)


def _say(answers: BinaryIO, answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Give stdin and stdout as files, and leave nothing in their place: what a decoder prints is no answer."""
    frames, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    return frames, answers


def warm_up(limits: Limits) -> None:
    """Load what the first image would load."""
    out = io.BytesIO()
    Image.new("RGB", (256, 256)).save(out, "BMP")
    examine(out.getvalue(), limits)
    # There is a worker a core already.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    cv2.setNumThreads(1)


def cap_memory(size: int) -> None:
    """Let more data than `size` bytes be a MemoryError here, not the end of whatever process the system picks."""
    # Not the address space: what threads merely reserve of it differs from machine to machine.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def main(settings: str, seconds: str) -> None:
    """Serve the parent, under its settings of ingest."""
    limits = _Sent(**json.loads(settings))
    warm_up(limits)
    cap_memory(_BASE_BYTES + 2 * limits.max_bytes + _PIXEL_BYTES * limits.max_pixels)
    serve(*take_over_pipes(), limits, int(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
