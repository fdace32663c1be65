"""A local Label Studio put back from a backup: all of it checked before anything is changed, and nothing lost unasked.

What came after the backup is not in it. So the numbers of what was made since are never given out a second time there,
and `reconcile` lets the dataset know which tasks and answers the server no longer has.
"""

import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from filelock import FileLock

from db.errors import LabelStudioError, StoreError
from db.faults import fault
from db.files import sync_folder
from labeler.backup import DATA, DATABASE, FORMAT, MANIFEST, look_into
from labeler.install import VERSION
from labeler.server import LocalServer

RESTORED = "restored"
"""A file that stands in a restored data folder until the dataset knows what came back."""
_NEEDED = (DATABASE, ".env", "credentials.json")
_PIECE = 1 << 20
_KEPT = {
    "project": "created_at",
    "task": "created_at",
    "task_completion": "updated_at",
    "tasks_annotationdraft": "updated_at",
    "data_import_fileupload": "file",
}
"""Tables of people's work, and what moves when a row of theirs does."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """What is in the present server and not, or not as it is now, in the backup."""

    projects: int
    tasks: int
    answers: int
    uploads: int

    def __bool__(self) -> bool:
        return bool(self.projects or self.tasks or self.answers or self.uploads)

    def __str__(self) -> str:
        said = {"projects": self.projects, "tasks": self.tasks, "answers": self.answers, "uploads": self.uploads}
        return ", ".join(f"{number} {what}" for what, number in said.items() if number)


def restore(local: LocalServer, file: Path, *, replace_work: bool, known: Iterable[tuple[str, int]] = ()) -> Lacking:
    """Put a backup in the place of this project's Label Studio; give what the one that was there had besides.

    `known` has numbers, by table, that the dataset remembers: none of them is given out again. Raises LabelStudioError,
    with nothing changed, for an archive that is none of ours or not whole, for a running server, and for work that the
    backup lacks unless `replace_work`. Killed in the middle, there is the old folder or the new one.
    """
    local.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(local.folder.with_suffix(".lock")):
        if local.lives():
            raise LabelStudioError("Label Studio is running; stop it first with `curate label stop`")
        fresh = local.folder.with_suffix(".restored")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            manifest = _unpack(file, fresh)
            lacking = _compare(local, fresh, manifest)
            if lacking and not replace_work:
                raise LabelStudioError(
                    f"the Label Studio that is here has {lacking} that {file} lacks; `--replace` gives them up (take a"
                    " backup first: `curate label backup`)"
                )
            _reserve_numbers(fresh / DATABASE, [*known, *_numbers(local.folder / DATABASE)])
            _make_ours(local, fresh)
            _swap(local, fresh)
        except OSError as error:
            raise StoreError(f"cannot restore {file}: {error.strerror or error}; nothing was changed") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return lacking


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Unpack an archive and check every byte of it. Raises LabelStudioError."""
    folder.mkdir(mode=0o700)
    hashes: dict[str, str] = {}
    manifest: Any = None
    try:
        with gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if source is None or manifest is not None:
                    raise _foreign(file, f"holds {member.name!r}, which is no plain file")
                if member.name == MANIFEST:
                    manifest = json.loads(source.read())
                else:
                    name = _inside(file, member.name)
                    if name in hashes:
                        raise _foreign(file, f"holds {name!r} twice")
                    hashes[name] = _write(source, folder / name)
            while packed.read(_PIECE):  # to the checksum at its end
                pass
    except FileNotFoundError:
        raise LabelStudioError(f"no file {file}") from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, UnicodeError) as error:
        raise LabelStudioError(
            f"{file} is no backup, or is damaged or cut short ({error}); nothing was changed"
        ) from None
    _check(file, manifest, hashes)
    look_into(folder / DATABASE)
    return dict(manifest)


def _inside(file: Path, name: str) -> str:
    """Give a member's place below the data folder. Raises LabelStudioError for one that points elsewhere."""
    path = PurePosixPath(name)
    if not name.startswith(DATA) or ".." in path.parts or path.is_absolute() or "\\" in name or "\0" in name:
        raise _foreign(file, f"holds {name!r}, which lies outside")
    return path.relative_to(DATA).as_posix()


def _write(source: IO[bytes], path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while piece := source.read(_PIECE):
            sha256.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return sha256.hexdigest()


def _check(file: Path, manifest: Any, hashes: dict[str, str]) -> None:  # noqa: ANN401 - whatever the archive says
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _foreign(file, "does not say that it is one")
    if manifest.get("sha256") != hashes or any(name not in hashes for name in _NEEDED):
        raise LabelStudioError(f"{file} is damaged: its files are not those that were backed up; nothing was changed")
    version = str(manifest.get("label_studio"))
    if _version(version) > _version(VERSION):
        raise LabelStudioError(
            f"{file} was made of Label Studio {version}, and this curate runs {VERSION}: update curate; nothing was"
            " changed"
        )


def _foreign(file: Path, why: str) -> LabelStudioError:
    return LabelStudioError(f"{file} is no backup made by `curate label backup`: it {why}; nothing was changed")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _compare(local: LocalServer, fresh: Path, manifest: dict[str, Any]) -> Lacking:
    """Count what the present server has and the backup has not. Of another project's backup it has nothing."""
    if not (local.folder / DATABASE).exists():
        return Lacking(0, 0, 0, 0)
    same = not local.exists or local.credentials().identity == manifest.get("identity")
    counts = {}
    for table, moves in _KEPT.items():
        there = _rows(fresh / DATABASE, table, moves) if same else set()
        counts[table] = len(_rows(local.folder / DATABASE, table, moves) - there)
    return Lacking(
        counts["project"],
        counts["task"],
        counts["task_completion"] + counts["tasks_annotationdraft"],
        counts["data_import_fileupload"],
    )


def _rows(database: Path, table: str, moves: str) -> set[tuple[int, str]]:
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
        try:
            return {(row[0], str(row[1])) for row in connection.execute(f"SELECT id, {moves} FROM {table}")}  # noqa: S608 - our own names
        except sqlite3.Error as error:
            raise LabelStudioError(f"{database} is damaged or cannot be read ({error}); nothing was changed") from error


def _numbers(database: Path) -> list[tuple[str, int]]:
    """Numbers that the present server has given out, by table."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
        return [(str(row[0]), int(row[1])) for row in connection.execute("SELECT name, seq FROM sqlite_sequence")]


def _reserve_numbers(database: Path, known: Iterable[tuple[str, int]]) -> None:
    """Let the restored server go on counting where the other one stopped: an answer is told by its number."""
    with closing(sqlite3.connect(database)) as connection, connection:
        have = {row[0] for row in connection.execute("SELECT name FROM sqlite_sequence")}
        for table, number in known:
            if table in have:
                update = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
                connection.execute(update, (number, table))
            else:
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))
                have.add(table)


def _make_ours(local: LocalServer, fresh: Path) -> None:
    """Let the copy be started anew: the process that it knew of is another machine's, or long gone."""
    (fresh / "home").mkdir(exist_ok=True)
    for name in ("export", "media", "test_data"):
        (fresh / name).mkdir(exist_ok=True)
    copy = LocalServer(fresh, local.root)
    copy.keep(replace(copy.credentials(), pid=None))
    (fresh / RESTORED).touch(mode=0o600)


def _swap(local: LocalServer, fresh: Path) -> None:
    old = local.folder.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(fresh)
    if local.folder.exists():
        local.folder.rename(old)
        fault("restore.moved")  # whoever comes next moves it back: see `LocalServer`
    fresh.rename(local.folder)
    sync_folder(local.folder.parent)
    fault("restore.swapped")
    shutil.rmtree(old, ignore_errors=True)
