"""A running `curate ui`."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from curate.project import Project
from tests.environment import clean_env


@contextmanager
def viewer(project: Project) -> Iterator[str]:
    """Start it, give its address, and end it by Ctrl-C."""
    command = [sys.executable, "-m", "curate", "ui", "--no-browser", "--json"]
    with subprocess.Popen(command, cwd=project.root, env=clean_env(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
            process.send_signal(signal.SIGINT)
            assert (process.wait(60), process.stdout.read()) == (130, "")
        finally:
            process.kill()
