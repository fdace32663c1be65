"""What a format is given, and what every format does alike: a folder that can be exported into again."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from curate.export.dataset import Dataset, Exported, present_split
from curate.progress import QUIET, Progress
from curate.project import Project
from db.errors import DatasetError
from db.files import Data, sweep, write_atomically

MARK = "curate-export.json"
"""What we wrote, so that a later export can take away what has left the split, and never anything else."""

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


def export(
    project: Project, layout: Format, folder: Path, progress: Progress = QUIET, *, outsiders: bool = False
) -> ExportReport:
    """Write the present split into `folder`, with the `outsiders` of all classes or without. Again changes nothing.

    Raises DatasetError without a split, or when `folder` holds what no export of ours wrote.
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
        files = sorted([*copies, *written])
        # Before the first file is there: an export that was killed must know its own again.
        _mark(folder, layout, sorted(earlier.union(files)))
        for path in earlier.difference(files):
            _remove(folder / path, folder)
        for path, source in copies.items():
            _copy(source, folder / path, folder)
            task.advance()
        for path, content in written.items():
            write_atomically(folder / path, content, temporary_folder=folder)
    _mark(folder, layout, files)
    return ExportReport(len(dataset.images), len(files))


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders below `folder` that held nothing else: an empty one is taken for a class."""
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()


def _earlier(folder: Path) -> set[str]:
    """Files that an earlier export wrote here."""
    sweep(folder)
    mark = folder / MARK
    if mark.exists():
        return set(json.loads(mark.read_text())["files"])
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty and no earlier export; choose a new folder")
    return set()


def _mark(folder: Path, layout: Format, files: Sequence[str]) -> None:
    write_atomically(folder / MARK, (json.dumps({"format": layout.name, "files": files}, indent=1) + "\n").encode())


def _copy(source: Path, target: Path, folder: Path) -> None:
    if target.exists() and source.exists() and target.stat().st_size == source.stat().st_size:
        return
    write_atomically(target, _bytes_of(source), temporary_folder=folder)


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"image file {file} is gone; `curate doctor` lists what is missing") from error
