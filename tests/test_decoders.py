"""Decoding in processes of its own: what kills, stops or fools one of them costs one image."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from curate.config import IngestSettings
from curate.ingest.decoders import Decoders
from curate.ingest.facts import Facts, examine
from db.errors import CurateError
from db.reasons import Reason, Refusal
from tests.environment import clean_env
from tests.pictures import encoded, jpeg, picture

LIMITS = IngestSettings()
GOOD = jpeg(1)


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    """One process, that has decoded one image."""
    with Decoders(LIMITS, 1, seconds=20) as pool:
        assert isinstance(pool.examine(GOOD), Facts)
        yield pool


def pid(decoders: Decoders) -> int:
    """The process that is idle, of a pool of one."""
    (decoder,) = decoders._idle.queue
    assert decoder._process is not None
    return decoder._process.pid


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true within ten seconds."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def is_gone(process: int) -> bool:
    """Whether there is no such process, not even one that has ended and is not waited for."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def has_ended(process: int) -> bool:
    """Whether it is gone, or only awaits whoever inherits the orphans, which a container may not have."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def odd_files() -> list[bytes]:
    """Good ones, broken ones, and what is no picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    good = picture(5, (700, 300))
    return [
        b"",
        b"<html>",
        bytes(1000),
        GOOD,
        GOOD[:-2],
        GOOD[:300],
        encoded(good, exif=exif),
        encoded(good.convert("CMYK")),
        encoded(good.convert("RGBA"), "WEBP"),
        encoded(good, "AVIF"),
        encoded(good.quantize(8), "GIF", transparency=3),
        encoded(good, "PNG")[:-12],
        encoded(good, "TIFF"),
        encoded(Image.new("I;16", (40, 40), 30_000), "PNG"),
        encoded(Image.new("RGB", (1, 20_000)), "PNG"),
        encoded(Image.new("1", (9000, 9000)), "PNG"),
    ]


def test_facts_and_refusals_are_those_of_the_direct_call(decoders: Decoders) -> None:
    """Nothing is lost or changed on the way, to the last digit and word."""
    for data in odd_files():
        assert decoders.examine(data) == examine(data, LIMITS)


def test_the_limits_hold_in_the_process() -> None:
    """The settings of ingest reach it."""
    with Decoders(IngestSettings(max_pixels=100 * 100), 1) as pool:
        refusal = pool.examine(GOOD)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.TOO_LARGE


def test_the_process_loads_no_more_than_it_needs() -> None:
    """What reads settings and databases is not loaded: each command that takes images in starts a process a core."""
    code = "import sys, curate.ingest.worker; sys.exit(bool({'pydantic', 'sqlalchemy', 'torch'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=clean_env()).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_costs_one_image(decoders: Decoders, number: signal.Signals) -> None:
    """The image in work is refused with the signal's number, and the next one is decoded by a new process."""
    first = pid(decoders)
    os.kill(first, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        outcome = thread.submit(decoders.examine, GOOD)
        assert eventually(decoders._idle.empty)
        os.kill(first, number)
        os.kill(first, signal.SIGCONT)
        assert outcome.result() == Refusal(Reason.DECODER_ERROR, f"the decoder died: signal {number}")
    assert isinstance(decoders.examine(GOOD), Facts)
    assert eventually(lambda: is_gone(first))


def test_a_process_that_was_killed_while_idle_is_replaced(decoders: Decoders) -> None:
    """Its death shows with the next image, and costs that one."""
    first = pid(decoders)
    os.kill(first, signal.SIGKILL)
    assert decoders.examine(GOOD) == Refusal(Reason.DECODER_ERROR, "the decoder died: signal 9")
    assert isinstance(decoders.examine(GOOD), Facts)
    assert pid(decoders) != first


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_process_that_hangs_costs_one_image(size: int) -> None:
    """It is killed at its deadline, also when it does not take all of a large file in."""
    with Decoders(LIMITS, 1, seconds=3) as decoders:
        assert isinstance(decoders.examine(GOOD), Facts)
        first = pid(decoders)
        os.kill(first, signal.SIGSTOP)
        started = time.monotonic()
        assert decoders.examine(bytes(size)) == Refusal(Reason.DECODER_ERROR, "not decoded after 3 s")
        assert time.monotonic() - started < 6
        assert is_gone(first)
        assert isinstance(decoders.examine(GOOD), Facts)


def test_many_threads_share_few_processes() -> None:
    """Every image gets its own facts, whoever decodes it, while images crash the processes in between."""
    files = [jpeg(seed) for seed in range(60)]
    with Decoders(LIMITS, 2) as decoders, ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(decoders.examine, files))
    assert outcomes == [examine(data, LIMITS) for data in files]


def test_one_process_is_enough_for_one_thread() -> None:
    """Processes are started as they are needed, and an idle one is used before another is started."""
    with Decoders(LIMITS, 4) as decoders:
        for _ in range(3):
            decoders.examine(GOOD)
        assert sum(decoder._process is not None for decoder in decoders._idle.queue) == 1


def test_nothing_is_left_after_close() -> None:
    """All processes are gone, and nobody waits for them any more."""
    with Decoders(LIMITS, 2) as decoders, ThreadPoolExecutor(2) as threads:
        list(threads.map(decoders.examine, [GOOD] * 8))
        pids = [decoder._process.pid for decoder in decoders._idle.queue if decoder._process is not None]
    assert pids
    assert all(map(is_gone, pids))
    with pytest.raises(ValueError, match="closed"):
        decoders.examine(GOOD)


def test_closing_waits_for_the_image_in_work(decoders: Decoders) -> None:
    """An image is not refused because the run ends; who has to wait longer is told that it has ended."""
    process = pid(decoders)
    os.kill(process, signal.SIGSTOP)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(decoders.examine, GOOD)
        assert eventually(decoders._idle.empty)
        closing = threads.submit(decoders.close)
        assert eventually(lambda: decoders._closed)
        second = threads.submit(decoders.examine, GOOD)
        os.kill(process, signal.SIGCONT)
        assert isinstance(first.result(), Facts)
        assert isinstance(second.exception(), ValueError)
        closing.result()


PARENT = """
    import sys
    from pathlib import Path
    from curate.config import IngestSettings
    from curate.ingest.decoders import Decoders
    decoders = Decoders(IngestSettings(), 1)
    decoders.examine(Path(sys.argv[1]).read_bytes())
    print(decoders._idle.queue[0]._process.pid, flush=True)
    input()
"""


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    """A process ends with its input, which no kill -9 can prevent."""
    file = tmp_path / "a.jpg"
    file.write_bytes(GOOD)
    arguments = [sys.executable, "-c", textwrap.dedent(PARENT), str(file)]
    with subprocess.Popen(arguments, env=clean_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not has_ended(child)
        parent.kill()
    assert eventually(lambda: has_ended(child))


def test_a_process_that_does_not_start_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it every image would be refused for a fault that is not the image's."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Decoders(LIMITS, 1) as decoders, pytest.raises(CurateError, match="no decoding process starts"):
        decoders.examine(GOOD)
    monkeypatch.setattr(sys, "executable", "/nowhere")
    with Decoders(LIMITS, 1) as decoders, pytest.raises(CurateError, match="no decoding process starts"):
        decoders.examine(GOOD)


def test_an_interrupted_wait_does_not_mix_answers_up(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C in a wait, the next image gets its own facts, not those still to come."""
    (decoder,) = decoders._idle.queue

    def interrupted() -> dict[str, object]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decoders.examine(jpeg(2))
    assert decoders.examine(GOOD) == examine(GOOD, LIMITS)


def test_ctrl_c_in_the_terminal_does_not_reach_the_processes(decoders: Decoders) -> None:
    """They are in no process group that a terminal would interrupt."""
    assert os.getpgid(pid(decoders)) != os.getpgid(0)
