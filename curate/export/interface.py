"""What a format is given, and what every format does alike: a folder that can be exported into again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.progress import QUIET, Progress
from curate.project import Project
from curate.split import latest_snapshot, refuse_forgotten
from db.batches import chunks
from db.errors import DatasetError
from db.files import sweep, write_atomically
from db.models import Candidate, Image, Sighting, Snapshot, SnapshotItem

MARK = "curate-export.json"
"""What we wrote, so that a later export can take away what has left the split, and never anything else."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One image of the split, and what is known of where it came from."""

    id: int
    sha256: str
    format: str
    label: str
    split: str
    file: Path
    width: int
    height: int
    source: str
    url: str
    page_url: str
    title: str
    creator: str
    licence: str
    licence_url: str
    attribution: str


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    images: int
    files: int


class Format(Protocol):
    """A way to lay out a dataset."""

    name: str

    def copies(self, images: Iterable[Exported]) -> Mapping[str, Path]:
        """Which image files go where: stored file by path below the export's folder."""

    def tables(self, images: Iterable[Exported]) -> Mapping[str, bytes]:
        """What else is written: content by path below the export's folder."""


def export(project: Project, layout: Format, folder: Path, progress: Progress = QUIET) -> ExportReport:
    """Write the present split into `folder`. Running it again changes nothing.

    Raises DatasetError without a split, or when `folder` holds what no export of ours wrote.
    """
    with project.database.read() as session:
        images = present_split(project, session)
    earlier = _earlier(folder)
    copies, tables = layout.copies(images), layout.tables(images)
    files = sorted([*copies, *tables])
    # Before the first file is there: an export that was killed must know its own again.
    _mark(folder, layout, sorted(earlier.union(files)))
    for path in earlier.difference(files):
        _remove(folder / path, folder)
    with progress.task(f"exporting {layout.name}", len(copies), "images") as task:
        for path, source in copies.items():
            _copy(source, folder / path, folder)
            task.advance()
    for path, content in tables.items():
        write_atomically(folder / path, content, temporary_folder=folder)
    _mark(folder, layout, files)
    return ExportReport(len(images), len(files))


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders below `folder` that held nothing else: an empty one is taken for a class."""
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()


def present_split(project: Project, session: Session) -> list[Exported]:
    """Images of the latest snapshot, each with its first sighting."""
    snapshot = latest_snapshot(session)
    if snapshot is None:
        raise DatasetError("there is no split to export yet; make one with `curate split`")
    refuse_forgotten(session, snapshot.id)
    items = {item.image_id: item for item in snapshot.items}
    found: list[Exported] = []
    for ids in chunks(items):
        first = select(func.min(Sighting.id)).where(Sighting.image_id.in_(ids)).group_by(Sighting.image_id)
        query = (
            select(Image, Sighting, Candidate)
            .outerjoin(Sighting, (Sighting.image_id == Image.id) & Sighting.id.in_(first))
            .outerjoin(Candidate, Candidate.id == Sighting.candidate_id)
            .where(Image.id.in_(ids))
            .order_by(Image.id)
        )
        for image, sighting, candidate in session.execute(query):
            found.append(_exported(project, snapshot, items[image.id], image, sighting, candidate))
    return found


def _exported(
    project: Project,
    snapshot: Snapshot,
    item: SnapshotItem,
    image: Image,
    sighting: Sighting | None,
    candidate: Candidate | None,
) -> Exported:
    return Exported(
        id=image.id,
        sha256=image.sha256,
        format=image.format,
        label=snapshot.classes[item.class_index],
        split=item.side.value,
        file=project.store.path(image.sha256, image.format),
        width=image.width,
        height=image.height,
        source=sighting.source if sighting else "",
        # A path on the exporting machine is nobody else's business.
        url=candidate.address if candidate and not candidate.local else "",
        page_url=sighting.page_url if sighting else "",
        title=sighting.title if sighting else "",
        creator=sighting.creator if sighting else "",
        licence=sighting.licence if sighting else "",
        licence_url=sighting.licence_url if sighting else "",
        attribution=sighting.attribution if sighting else "",
    )


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
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    try:
        write_atomically(target, source.read_bytes(), temporary_folder=folder)
    except FileNotFoundError as error:
        raise DatasetError(f"image file {source} is gone; `curate doctor` lists what is missing") from error
