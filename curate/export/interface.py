"""What a format is given, and what every format does alike: a folder that can be exported into again."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from curate.export.dataset import Dataset, Exported, present_split
from curate.progress import QUIET, Progress
from curate.project import Project
from db.errors import DatasetError
from db.files import Data, sweep, write_atomically
from db.store import digest

MARK = "curate-export.json"
"""What we wrote, so that a later export can take away what has left the split, and never anything else."""

_IMAGE = re.compile("[0-9a-f]{64}")

Reader = Callable[[Exported], bytes]
"""Gives an image's bytes, as they are stored."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    images: int
    files: int


class Format(Protocol):
    """A way to lay out a dataset. Paths are below the export's folder."""

    name: str

    def copies(self, dataset: Dataset) -> Mapping[str, Path]:
        """Which image files go where as they are: stored file by path."""

    def written(self, dataset: Dataset, read: Reader) -> Mapping[str, Data]:
        """What else is written: content by path. Images that are part of it are read as they are needed."""

    def cautions(self, dataset: Dataset) -> Sequence[str]:
        """What its readers would not see as it is, each in a line."""


def export(
    project: Project, layout: Format, folder: Path, progress: Progress = QUIET, *, outsiders: bool = False
) -> ExportReport:
    """Write the present split into `folder`, with the `outsiders` of all classes or without. Again changes nothing.

    Raises DatasetError without a split, or when `folder` holds what no export of ours wrote, or what was changed since.
    """
    with project.database.read() as session:
        dataset = present_split(project, session, outsiders=outsiders)
    earlier = _earlier(folder)
    with progress.task(f"exporting {layout.name}", len(dataset.images), "images") as task:

        def read(image: Exported) -> bytes:
            data = _bytes_of(image.file)
            task.advance()
            return data

        copies, written = layout.copies(dataset), layout.written(dataset, read)
        _refuse_changed(folder, earlier, copies, written)
        for line in layout.cautions(dataset):
            progress.say(line)
        files: dict[str, str | None] = dict.fromkeys([*copies, *written])
        # Before the first file is there: an export that was killed must know its own again.
        _mark(folder, layout, {**earlier, **files})
        try:
            for path in earlier.keys() - files.keys():
                _remove(folder / path, folder)
            for path, source in copies.items():
                _copy(source, folder / path, folder)
                task.advance()
            for path, content in written.items():
                found = hashlib.sha256()
                write_atomically(folder / path, _through(found, content), temporary_folder=folder)
                files[path] = found.hexdigest()
        except BaseException:
            # What it did not come to is as it was: what a person edits there before the next one is theirs.
            _mark(folder, layout, {**earlier, **{path: files[path] or earlier.get(path) for path in files}})
            raise
    _mark(folder, layout, files)
    return ExportReport(len(dataset.images), len(files))


def _through(found: "hashlib._Hash", content: Data) -> Iterator[bytes]:
    for piece in [content] if isinstance(content, bytes) else content:
        found.update(piece)
        yield piece


def _refuse_changed(
    folder: Path, earlier: Mapping[str, str | None], copies: Mapping[str, Path], written: Mapping[str, Data]
) -> None:
    """Let no file be written over, or taken away, that is not as we left it: an edited card is a person's work."""
    for path in sorted({*earlier, *copies, *written}):
        file = folder / path
        if not file.exists():
            continue
        source = copies.get(path)
        if source is None:
            ours = path in earlier and _as_left(file, earlier[path])
        else:
            ours = not source.exists() or _stays(file, source)
        if not ours:
            raise DatasetError(f"{file} is not as an export left it; move it elsewhere, or export into another folder")


def _as_left(file: Path, sha256: str | None) -> bool:
    """Whether a file that leaves, or is made anew, has this hash; an image's name is its own."""
    if sha256 is None and not _IMAGE.fullmatch(file.stem):
        return True  # an export that was killed was at it
    return digest(file) == (sha256 or file.stem)


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders below `folder` that held nothing else: an empty one is taken for a class."""
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()


def _earlier(folder: Path) -> dict[str, str | None]:
    """Files that an earlier export wrote here; those that were made, each with its SHA-256."""
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; choose a new folder")
    sweep(folder)
    mark = folder / MARK
    if mark.exists():
        return _marked(mark)
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty and no earlier export; choose a new folder")
    return {}


def _marked(mark: Path) -> dict[str, str | None]:
    """Files that a mark names. It may have come with somebody's dataset: what it names elsewhere is not ours."""
    try:
        found = json.loads(mark.read_text())
        files = {**dict.fromkeys(found["files"]), **found.get("sha256", {})}
        below = all(not path.is_absolute() and ".." not in path.parts for path in map(PurePath, files))
    except (ValueError, KeyError, TypeError, AttributeError):
        below = False
    if not below:
        raise DatasetError(f"{mark} is damaged, or not ours; choose a new folder")
    return files


def _mark(folder: Path, layout: Format, files: Mapping[str, str | None]) -> None:
    made = {path: sha256 for path, sha256 in sorted(files.items()) if sha256 is not None}
    content = {"format": layout.name, "files": sorted(files), "sha256": made}
    write_atomically(folder / MARK, (json.dumps(content, indent=1) + "\n").encode())


def _copy(source: Path, target: Path, folder: Path) -> None:
    if target.exists() and source.exists() and _stays(target, source):
        return
    write_atomically(target, _bytes_of(source), temporary_folder=folder)


def _stays(target: Path, source: Path) -> bool:
    """Whether the copy of an image is left as it is: to read all of them would take as long as to write them."""
    return target.stat().st_size == source.stat().st_size


def _bytes_of(file: Path) -> bytes:
    """Bytes of a stored image. Raises DatasetError where they are not those that its name is the hash of."""
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"image file {file} is gone; `curate doctor` lists what is missing") from error
    if hashlib.sha256(data).hexdigest() != file.stem:
        raise DatasetError(f"image file {file} was altered; `curate doctor` says what to do")
    return data
