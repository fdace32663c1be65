"""`curate export-model`: a run's network as one file for other programs, checked on the project's own pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select

from curate import runs
from curate.progress import QUIET, Progress
from curate.project import Project
from db.errors import DatasetError
from db.models import Image, Side, SnapshotItem
from trainer.batches import cached_side
from trainer.cache import Pixels, square
from trainer.onnx_export import OnnxReport, export_onnx
from trainer.predict import read_run

_CHECKED = 16


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The run, and its file."""

    run: str
    onnx: OnnxReport


def export_model(project: Project, file: Path, run: str | None = None, progress: Progress = QUIET) -> ModelReport:
    """Write the best run, or `run`, as ONNX to `file`. Raises DatasetError, and TrainerError."""
    if file.suffix != ".onnx":
        raise DatasetError(f"{file} does not end in .onnx, the one form a model is written in")
    if not file.parent.is_dir():
        raise DatasetError(f"no folder {file.parent}")
    with project.database.read() as session:
        chosen = runs.choose(session, run, [c.name for c in project.settings.classes])
    folder = project.runs / chosen.name
    side = cached_side(read_run(folder)["options"]["size"])
    with progress.task(f"exporting {chosen.name}", None, "steps"):
        pixels = np.stack(list(_held_out(project, chosen.snapshot_id, side)))
        return ModelReport(chosen.name, export_onnx(folder, file, pixels))


def _held_out(project: Project, snapshot_id: int, side: int) -> Iterator[Pixels]:
    """Pictures that the run did not learn from, some of each class. Those forgotten since are no obstacle."""
    query = (
        select(Image)
        .join(SnapshotItem, SnapshotItem.image_id == Image.id)
        .where(SnapshotItem.snapshot_id == snapshot_id, SnapshotItem.side == Side.VALIDATION)
        .order_by(SnapshotItem.class_index, Image.sha256)
    )
    with project.database.read() as session:
        images = session.scalars(query).all()
    if not images:
        raise DatasetError(
            "none of the run's validation images is left to check the file on; train on the present split"
        )
    for image in images[:: max(1, len(images) // _CHECKED)][:_CHECKED]:
        yield square(project.store.read(image.sha256, image.format), side)
