"""The process that decodes, by itself: what it says, and when it ends."""

import signal
import subprocess
import sys
import textwrap

from curate.config import IngestSettings
from curate.ingest.worker import LENGTH
from tests.environment import clean_env
from tests.pictures import jpeg

GOOD = jpeg(1)
SETTINGS = IngestSettings().model_dump_json()


def in_a_process(code: str) -> str:
    """What a program that may change itself says."""
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(arguments, env=clean_env(), check=True, capture_output=True, text=True).stdout


def test_what_a_decoder_prints_is_no_answer() -> None:
    """Neither Python's nor a C library's output gets between the answers."""
    said = in_a_process("""
        import os
        from curate.ingest.worker import take_over_pipes
        frames, answers = take_over_pipes()
        os.write(1, b"{}")
        os.write(2, b"{}")
        print("{}", flush=True)
        answers.write(b"the answer")
        answers.flush()
    """)
    assert said == "the answer"


def test_more_memory_than_allowed_is_too_large() -> None:
    """A picture that needs more is refused, and the process lives on."""
    said = in_a_process("""
        import io
        from PIL import Image
        from curate.config import IngestSettings
        from curate.ingest.worker import cap_memory, examine, warm_up
        files = []
        for side in (8000, 100):
            out = io.BytesIO()
            Image.new("L", (side, side)).save(out, "PNG")
            files.append(out.getvalue())
        limits = IngestSettings(max_pixels=64_000_000)
        warm_up(limits)
        cap_memory(200_000_000)
        print(examine(files[0], limits))
        print(examine(files[1], limits).width)
    """)
    assert said == "too_large: out of memory while decoding\n100\n"


def test_the_process_ends_with_its_input() -> None:
    """Each frame has one line of answer, after a first line that says that it is ready."""
    arguments = [sys.executable, "-m", "curate.ingest.worker", SETTINGS, "60"]
    frames = LENGTH.pack(len(GOOD)) + GOOD + LENGTH.pack(0)
    done = subprocess.run(arguments, input=frames, env=clean_env(), check=True, capture_output=True)
    ready, facts, refusal = done.stdout.splitlines()
    assert ready == b"{}"
    assert b'"format": "JPEG"' in facts
    assert b'"reason": "corrupt"' in refusal


def test_a_hang_ends_though_the_parent_is_gone() -> None:
    """An image that takes longer than its alarm is the end of its process, whoever is there to kill it."""
    code = f"""
        import time
        from curate.ingest import worker
        worker.warm_up = lambda _: None
        worker.examine = lambda *_: time.sleep(60)
        worker.main({SETTINGS!r}, "1")
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    frame = LENGTH.pack(1) + b"x"
    done = subprocess.run(arguments, input=frame, env=clean_env(), check=False, capture_output=True)
    assert done.returncode == -signal.SIGALRM
