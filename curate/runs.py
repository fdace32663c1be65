"""Finished runs, and which of them answers when none is named."""

import re
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.config import class_key
from db.classes import ids_now
from db.errors import DatasetError
from db.models import Class, Run, RunState
from trainer.intervals import wilson

REPORT, SHEET = "report.html", "confused.png"
"""Files of a run's folder that show images; `curate evaluate` makes them anew."""
EXPLAINED = "explained"
"""How `curate explain` calls its sheets in the project's folder: `explained.png`, `explained-2.png` and so on."""


def choose(session: Session, name: str | None, classes: list[str], *, taught: bool = True) -> Run:
    """Give the run called `name`, or the best, `taught` by another or not. Raises DatasetError when there is none.

    The number that a name begins with, `0002` or `2`, stands for it.
    """
    run = best(session, classes, taught=taught) if name is None else _called(session, name)
    if run is None and name is None:
        raise DatasetError("no run with the present classes is finished yet; train one with `curate train`")
    if run is None:
        names = session.scalars(select(Run.name).where(Run.state == RunState.FINISHED).order_by(Run.id)).all()
        raise DatasetError(f"no run {name!r}; there is: {', '.join(names) or 'none'}")
    if run.state is RunState.FAILED:
        raise DatasetError(f"run {run.name} failed ({run.problem}); begin another with `curate train`")
    if run.state is not RunState.FINISHED:
        raise DatasetError(f"run {run.name} is not finished; go on with `curate train --resume`")
    return run


def _called(session: Session, name: str) -> Run | None:
    runs = {run.name: run for run in session.scalars(select(Run))}
    numbered = (run for known, run in runs.items() if name.isdecimal() and known.startswith(f"{int(name):04}-"))
    return runs.get(name) or next(numbered, None)


def best(session: Session, classes: list[str], *, taught: bool = True) -> Run | None:
    """The newest split's best run, unless an older run is better beyond chance.

    Early rounds validate on a handful of images: comparing bare accuracies would let a lucky 5 of 5 beat every later
    run. So an older run stands only while its interval lies above all of the newer one's.
    """
    found = _same_classes(session, classes)
    found.sort(key=lambda run: (run.snapshot_id, run.validation_accuracy or 0.0, run.id))
    by_snapshot = {run.snapshot_id: run for run in found if taught or not run.options.get("teacher")}
    chosen: Run | None = None
    for _, run in sorted(by_snapshot.items()):
        if chosen is None or _interval(run)[1] >= _interval(chosen)[0]:
            chosen = run
    return chosen


def earlier(session: Session, run: Run, classes: list[str]) -> list[Run]:
    """Finished runs on the present classes that began before `run`, the latest first."""
    return [one for one in reversed(_same_classes(session, classes)) if one.id < run.id]


def _same_classes(session: Session, classes: list[str]) -> list[Run]:
    """Finished runs that tell the present classes apart, in the order in which they began.

    By what their classes count as: a run whose classes were renamed since still tells the present ones apart.
    """
    wanted = set(ids_now(session, map(class_key, classes)))
    query = select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id)
    return [
        run for run in session.scalars(query) if wanted == set(ids := _ids(session, run)) and len(ids) == len(wanted)
    ]


def telling(session: Session, classes: list[str]) -> Run | None:
    """The best run; where none was trained since classes were merged, the latest that told more of them apart."""
    chosen = best(session, classes)
    if chosen is not None:
        return chosen
    wanted = set(ids_now(session, map(class_key, classes)))
    query = select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id.desc())
    return next((run for run in session.scalars(query) if wanted <= set(_ids(session, run))), None)


def names_now(session: Session, run: Run) -> list[str | None]:
    """Names of the present classes that a run's classes count as, in its order; None for one that was removed."""
    names = {row.id: row.name for row in session.scalars(select(Class))}
    return [None if class_id is None else names[class_id] for class_id in _ids(session, run)]


def _ids(session: Session, run: Run) -> list[int | None]:
    return ids_now(session, map(class_key, run.classes))


def _interval(run: Run) -> tuple[float, float]:
    images = run.validation_images or 0
    return wilson((run.validation_accuracy or 0.0) * images, images)


def discard_pictures(folder: Path, hashes: Collection[str]) -> None:
    """Take away reports, in any run's folder below `folder`, that may show one of these images."""
    for manifest in folder.glob("*/manifest.csv"):
        files = [file for file in (manifest.with_name(REPORT), manifest.with_name(SHEET)) if file.exists()]
        if files and any(sha256 in manifest.read_text() for sha256 in hashes):
            for file in files:
                file.unlink(missing_ok=True)


def discard_explained(folder: Path) -> None:
    """Take away the sheets of `curate explain` that lie in `folder` under their own name, for the same reason."""
    for path in folder.glob(f"{EXPLAINED}*.png"):
        if re.fullmatch(rf"{EXPLAINED}(-\d+)?", path.stem) and path.is_file():
            path.unlink(missing_ok=True)
