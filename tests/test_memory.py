"""`trainer.memory`: what tensors free is there for the next ones."""

import platform
import subprocess
import sys

import pytest

from tests.environment import clean_env


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library manages its memory in its own way")
def test_the_c_library_takes_every_setting() -> None:
    """In a process of its own, since they stand for as long as it lives."""
    code = "import sys; from trainer.memory import keep_freed_memory; sys.exit(0 if keep_freed_memory() else 1)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=clean_env()).returncode == 0
