"""`curate.cli.terminal`: how long work is shown, on a terminal and in a log."""

import io
import time

import pytest
from rich.console import Console

from curate.cli.terminal import Terminal, clock, rate


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_bar_stays_on_one_line(width: int) -> None:
    """However narrow the terminal is, and however long names and notes are, it does not break."""
    out = io.StringIO()
    terminal = Terminal()
    terminal.console = Console(file=out, width=width, force_terminal=True, color_system=None)
    with terminal.task("predicting by 0002-squeezenet1_1", 12_000, "images") as task:
        task.note("openverse 56; 62 addresses, 2 copies, 4 failed")
        task.advance(4711)
    shown = out.getvalue()
    assert "pred" in shown
    assert "\x1b[1A" not in shown  # nothing is drawn above
    assert max(len(line) for line in shown.splitlines()[-1:]) <= width + len("\x1b[?25h")


def test_a_notice_is_shown_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    """What stands between colons or brackets in a path or a name is no picture and no style."""
    Terminal().say("written to a:key:b/[bold].html")
    assert capfd.readouterr().err == "written to a:key:b/[bold].html\n"


def test_rates_and_times_are_read_at_a_glance() -> None:
    """Three digits, no powers of ten; hours, minutes and seconds."""
    assert [rate(speed) for speed in (4711.4, 99.96, 85.14, 0.4639)] == ["4,711/s", "100/s", "85.1/s", "0.464/s"]
    assert [clock(seconds) for seconds in (3.4, 106, 8000)] == ["0:00:03", "0:01:46", "2:13:20"]


def test_a_log_has_a_line_for_each_piece_of_work(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many, how fast, and the time left on the way; nothing where there was nothing to do."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    terminal = Terminal()
    with terminal.task("decoding", 0, "images"), terminal.task("reading", None, "answers"):
        pass
    with terminal.task("importing", 400, "images") as task:
        now = 20.0
        task.advance(100)
        now = 80.0
        task.note("done")
        task.advance(300)
    with terminal.task("exporting", None, "steps"):
        now += 12
    assert capfd.readouterr().err.splitlines() == [
        "importing: 100/400 images, 5/s, 0:01:00 left",
        "importing: 400/400 images, 5/s, done",
        "exporting: 0:00:12",
    ]
