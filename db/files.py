"""The one way in which bytes reach the disk."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from db.errors import StoreError
from db.faults import fault

TEMPORARY = ".curate-tmp-"
"""How the name of a file that is not whole yet begins; the number of the process that writes it follows."""


def write_atomically(path: Path, data: bytes, mode: int = 0o644, temporary_folder: Path | None = None) -> None:
    """Put `data` at `path` so that after any crash there is the old file or the new one, never a part.

    Temporary file (in `temporary_folder` of the same disk, or beside it), fsync, rename, fsync of the folder. Raises
    StoreError, naming the path, when the disk is full or the folder read-only; the temporary file is then gone.
    """
    temporary: str | None = None
    folder = temporary_folder or path.parent
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            fault("file.written")
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        fault("file.synced")
        Path(temporary).replace(path)
        temporary = None
        fault("file.renamed")
        sync_folder(path.parent)
    except OSError as error:
        what = error.strerror or str(error)
        raise StoreError(f"cannot write {path}: {what}. Make room there, then run it again.") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last: without it a power cut can undo the rename though the data was synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def leftovers(folder: Path) -> Iterator[Path]:
    """Temporary files directly in `folder` whose process is dead."""
    for path in folder.glob(f"{TEMPORARY}*"):
        number = path.name.removeprefix(TEMPORARY).partition("-")[0]
        if not (number.isdigit() and process_lives(int(number))):
            yield path


def sweep(folder: Path) -> None:
    """Remove what killed processes left directly in `folder`."""
    for path in leftovers(folder):
        path.unlink(missing_ok=True)


def process_lives(number: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
