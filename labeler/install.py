"""Label Studio itself, in a venv and with a migrated database of its own, made once and shared by all projects."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from db.errors import LabelStudioError

VERSION = "1.23.2"
"""The one that was tried: its pins are tight, and its routes move."""


STEPS = 3
"""Of an installation."""


@dataclass(frozen=True)
class Installation:
    """Where Label Studio lies: `<cache>/label-studio-<version>/` with `venv/` and `template/`."""

    folder: Path

    @property
    def program(self) -> Path:
        """The server's executable."""
        return self.folder / "venv" / "bin" / "label-studio"

    @property
    def template(self) -> Path:
        """A migrated data folder without user or secret. A copy of it starts in 3 s, an empty folder in 60."""
        return self.folder / "template"

    @property
    def ready(self) -> bool:
        """Whether all of it is there."""
        return (self.folder / "ready").exists()


def installation(cache: Path) -> Installation:
    """Say where Label Studio lies, or would lie, below the user's cache folder."""
    return Installation(cache / f"label-studio-{VERSION}")


def install(found: Installation, step: Callable[[str], None] = lambda _: None) -> None:
    """Install Label Studio from the package registry, unless it is there. Takes one to three minutes and 1 GB.

    `step` is told what is done, `STEPS` times. What was left half-made by a kill is made anew. Raises LabelStudioError
    naming the log.
    """
    found.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(found.folder.with_name(f"{found.folder.name}.lock")):
        if found.ready:
            return
        for folder in (found.folder / "venv", found.template):
            shutil.rmtree(folder, ignore_errors=True)
        log = found.folder / "install.log"
        python = str(found.folder / "venv" / "bin" / "python")
        _run([sys.executable, "-m", "venv", str(found.folder / "venv")], log, dict(os.environ))
        step("its venv is made")
        _run([python, "-m", "pip", "install", "--quiet", f"label-studio=={VERSION}"], log, dict(os.environ))
        step("its packages are installed")
        _make_template(found, log)
        step("its database is made")
        (found.folder / "ready").touch()


def _make_template(found: Installation, log: Path) -> None:
    found.template.mkdir()
    arguments = ["init", "-q", "--data-dir", str(found.template), "--log-level", "WARNING"]
    _run([str(found.program), *arguments], log, clean_environment(found.template))
    (found.template / ".env").unlink(missing_ok=True)  # its secret key: every copy gets one of its own
    shutil.rmtree(found.template / "home", ignore_errors=True)


def clean_environment(data: Path) -> dict[str, str]:
    """Environment in which Label Studio reads nothing of the user's, tells nobody, and writes below `data` alone.

    It would otherwise take a bare USERNAME, PASSWORD, PORT, HOST or DEBUG for its own.
    """
    return {
        "PATH": os.defpath,
        "HOME": str(data / "home"),
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",  # unset, both report to the makers
        "FRONTEND_SENTRY_DSN": "",
    }


def _run(command: list[str], log: Path, environment: dict[str, str]) -> None:
    with log.open("ab") as file:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no output"
        raise LabelStudioError(f"installing Label Studio failed: {last} (all of it is in {log})")
