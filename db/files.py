"""The one way in which bytes reach the disk."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from db.errors import StoreError
from db.faults import fault

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TEMPORARY = ".curate-tmp-"
"""How the name of a file that is not whole yet begins; the number of the process that writes it follows."""


Data = bytes | Iterator[bytes]
"""What is written: all of it, or pieces of what is too much to hold at once."""


def write_atomically(path: Path, data: Data, mode: int = 0o644, temporary_folder: Path | None = None) -> None:
    """Put `data` at `path` so that after any crash there is the old file or the new one, never a part.

    Temporary file (in `temporary_folder` of the same disk, or beside it), fsync, rename, fsync of the folder. Raises
    StoreError, naming the path, when the disk is full or the folder read-only; the temporary file is then gone.
    """
    write_all_atomically({path: data}, mode, temporary_folder)


def write_all_atomically(files: Mapping[Path, Data], mode: int = 0o644, temporary_folder: Path | None = None) -> None:
    """Put several files in their places as `write_atomically` does one, side by side.

    All are written before the first is synced: a journalling file system then commits all of them at once, and has
    nothing left to do for the others.
    """
    written: list[tuple[Path, Path]] = []
    made: set[Path] = set()
    try:
        for path, data in files.items():
            with _named(path):
                _refuse_device(path)
                folder = temporary_folder or path.parent
                _make({folder, path.parent} - made)
                made |= {folder, path.parent}
                descriptor, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=folder)
                written.append((path, Path(name)))
                _fill(descriptor, data, mode)
                fault("file.written")
        for path, temporary in written:
            with _named(path):
                sync(temporary)
                fault("file.synced")
        for path, temporary in written:
            with _named(path):
                temporary.replace(path)
                fault("file.renamed")
        for folder in {path.parent for path in files}:
            with _named(folder):
                sync_folder(folder)
    except BaseException:  # pieces are made as they are written: whatever stops that stops the file
        for _, temporary in written:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise


def check_writable(path: Path) -> None:
    """Raise StoreError where no file could be put at `path`: before the work that is to end there, not after it."""
    with _named(path):
        _refuse_device(path)
        there = path if path.is_dir() else next(folder for folder in path.absolute().parents if folder.exists())
        why = errno.EISDIR if there == path else 0 if there.is_dir() else errno.ENOTDIR
        if not why and not os.access(there, os.W_OK | os.X_OK):
            why = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
        if why:
            raise OSError(why, os.strerror(why))


def _refuse_device(path: Path) -> None:
    """A file would take the place of what is there: for the administrator, of `/dev/null` itself."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = path.stat().st_mode
        opened = path.is_symlink() and str(path.readlink()).startswith("/proc/")  # `/dev/stdout`, also into a file
        if opened or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise StoreError(f"cannot write {path}: it is a device or a pipe. Name a file.")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        raise StoreError(f"cannot write {path}: {what}. {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if error.errno in _FULL:
        return "Make room there, then run it again."
    if error.errno == errno.EISDIR:
        return "Name a file, not a folder."
    return "Look whether its folder is there and may be written to."


def _make(folders: Iterable[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)


def _fill(descriptor: int, data: Data, mode: int) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        os.fchmod(file.fileno(), mode)


def sync(path: Path) -> None:
    """Make what was written to a file, or done in a folder, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last: without it a power cut can undo the rename though the data was synced."""
    sync(folder)


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
