"""Bytes to disk, whole or not at all.

The same few lines as `db.files`, on purpose: this library must run where nothing else of the project is installed.
"""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TEMPORARY = ".curate-tmp-"
"""How the name of a file that is not whole yet begins; the number of the process that writes it follows."""


def temporary(folder: Path) -> Path:
    """Make an empty file for what is not whole yet."""
    descriptor, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=folder)
    os.close(descriptor)
    return Path(name)


def sweep(folder: Path) -> None:
    """Remove what killed processes left directly in `folder`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        number = path.name.removeprefix(TEMPORARY).partition("-")[0]
        try:
            os.kill(int(number), 0)
        except (ProcessLookupError, ValueError):
            path.unlink(missing_ok=True)
        except PermissionError:
            continue


def cannot_write(path: Path, error: OSError) -> TrainerError:
    """What is told of a file that the disk refuses."""
    full = "Make room there, then run it again."
    advice = full if error.errno in _FULL else "Look whether its folder is there and may be written to."
    return TrainerError(f"cannot write {path}: {error.strerror or error}. {advice}")


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically. Raises TrainerError naming the path when the disk refuses."""
    unfinished = None
    try:
        unfinished = temporary(path.parent)
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        unfinished.replace(path)
        unfinished = None
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if unfinished is not None:
            with contextlib.suppress(OSError):
                unfinished.unlink()


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Write `value` as JSON, atomically."""
    write(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
