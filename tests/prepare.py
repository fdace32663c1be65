"""`python -m tests.prepare`: what the tests need beyond Python packages; `make test` runs it first.

Label Studio goes where the product itself keeps it, so that `make demo` and the tests share one installation.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

from db.errors import LabelStudioError
from labeler.install import install, installation

BROWSER_HOW = "install one with `apt-get install chromium` (macOS: `brew install chromium`)"
"""How to get the browser that the page's tests drive."""


def cache() -> Path:
    """Where the product keeps Label Studio."""
    given = os.environ.get("CURATE_CACHE")
    return Path(given) if given else user_cache_path("curate")


def main() -> int:
    """Prepare everything; the exit code is 2 where a test would fail for the lack of it."""
    found = installation(cache())
    if not found.ready:
        _say(f"installing Label Studio into {found.folder}, once: one to three minutes, 1 GB")
        try:
            install(found)
        except LabelStudioError as error:
            _say(str(error))
            return 2
    _browser()
    return 0


def _browser() -> None:
    if shutil.which("chromium") is not None:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _say("installing chromium for the tests of the labelling page")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        packages = ["chromium", "fonts-dejavu-core"]
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False
            )
            if done.returncode:
                break
    if shutil.which("chromium") is None:
        _say(f"no chromium: the tests of the labelling page will be skipped; {BROWSER_HOW}")


def _say(line: str) -> None:
    sys.stderr.write(f"prepare: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
