"""A copy of a local Label Studio in one file: its database as at one moment, what was uploaded, and its secrets.

The archive is a `.tar.gz`. Its last member says what the others are, with a hash of each: a file that was cut short
lacks it. The server may run meanwhile: SQLite copies its database itself, and files are never changed once they are
there. They are read after the database, so whatever its rows name is among them.
"""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from db.errors import LabelStudioError, StoreError
from db.files import TEMPORARY, sync_folder
from labeler.install import VERSION
from labeler.server import LocalServer

DATABASE = "label_studio.sqlite3"
MANIFEST = "manifest.json"
FORMAT = "curate label backup 1"
DATA = "data/"
_LEFT_OUT = {"home", "server.log", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"}
"""Logs, caches, and the database's own files: it is copied, not read."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a Label Studio holds."""

    projects: int
    tasks: int
    annotations: int


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The archive, and what is in it."""

    file: Path
    bytes: int
    files: int
    contents: Contents


def back_up(local: LocalServer, file: Path, step: Callable[[], None] = lambda: None) -> BackupReport:
    """Write a backup to `file`, which only its user can read, whole or not at all; `step` is told of each file.

    Raises LabelStudioError where there is nothing to copy, or `file` is there already, and StoreError.
    """
    local.credentials()
    if file.exists():
        raise LabelStudioError(f"{file} exists already; name another file")
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(local.folder.with_suffix(".lock")):  # no restore in the middle of it
        # Readable by its owner alone from its first byte on.
        descriptor, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=file.parent)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as out:
                files, contents = _write(local, out, step)
                out.flush()
                os.fsync(out.fileno())
            unfinished.rename(file)
            sync_folder(file.parent)
        except OSError as error:
            raise StoreError(f"cannot write {file}: {error.strerror or error}") from error
        finally:
            unfinished.unlink(missing_ok=True)
    return BackupReport(file, file.stat().st_size, files, contents)


def _write(local: LocalServer, out: io.BufferedWriter, step: Callable[[], None]) -> tuple[int, Contents]:
    hashes: dict[str, str] = {}
    copy = local.folder.with_suffix(".copy")
    copy.unlink(missing_ok=True)
    try:
        copy_database(local.folder / DATABASE, copy)
        contents = look_into(copy)
        _pack(local, copy, out, hashes, step)
    finally:
        copy.unlink(missing_ok=True)
    return len(hashes), contents


def _pack(
    local: LocalServer, copy: Path, out: io.BufferedWriter, hashes: dict[str, str], step: Callable[[], None]
) -> None:
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, path in [(DATABASE, copy), *_files(local.folder)]:
            with suppress(FileNotFoundError), path.open("rb") as data:  # an upload may be deleted just now
                hashes[name] = _add(archive, name, data)
            step()
        manifest = {
            "format": FORMAT,
            "label_studio": VERSION,
            "identity": local.credentials().identity,
            "made_at": datetime.now(UTC).isoformat(),
            "sha256": hashes,
        }
        said = json.dumps(manifest, indent=1).encode()
        archive.addfile(_member(MANIFEST, len(said)), io.BytesIO(said))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] not in _LEFT_OUT and path.is_file() and not path.is_symlink():
            yield name.as_posix(), path


def _add(archive: tarfile.TarFile, name: str, data: io.BufferedReader) -> str:
    """Put an open file into the archive, as long as it is now, and give the hash of what was put there."""
    size = os.fstat(data.fileno()).st_size
    reader = _Hashing(data)
    archive.addfile(_member(DATA + name, size), reader)
    return reader.sha256.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(datetime.now(UTC).timestamp())
    return member


class _Hashing:
    """Reads a file, and hashes what was read."""

    def __init__(self, data: io.BufferedReader) -> None:
        self.sha256 = hashlib.sha256()
        self._data = data

    def read(self, size: int = -1) -> bytes:
        found = self._data.read(size)
        self.sha256.update(found)
        return found


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as at one moment, also while it is written. Raises LabelStudioError for one that is damaged."""
    try:
        # Not read-only: what a server that was killed left half-written is undone by whoever opens it next.
        address = f"{source.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=60)) as there, closing(sqlite3.connect(target)) as copy:
            there.backup(copy)
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except sqlite3.Error as error:
        raise LabelStudioError(f"{source} is damaged or cannot be read ({error})") from error


def look_into(database: Path) -> Contents:
    """Count what a Label Studio's database holds. Raises LabelStudioError for one that is none."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            counts = [
                connection.execute(query).fetchone()[0]
                for query in (
                    "SELECT count(*) FROM project WHERE deleted_at IS NULL",
                    "SELECT count(*) FROM task",
                    "SELECT count(*) FROM task_completion",
                )
            ]
    except sqlite3.Error as error:
        raise LabelStudioError(f"{database.name} is no Label Studio's database ({error})") from error
    return Contents(*counts)
