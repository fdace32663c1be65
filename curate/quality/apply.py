"""Checks applied: findings written down, and the state of each image that follows from them.

A person's word comes first. What has a label is flagged and stays in use, whatever a check says. Nothing is thrown
away: what is set aside comes back when a threshold or a person says so, and takes part in the search for duplicates.
"""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image as Pillow
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from curate import lookup
from curate.dedup.groups import regroup
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.quality.checks import METHOD, find
from curate.quality.measures import measure
from db.batches import chunks
from db.errors import DatasetError, StoreError
from db.models import Image, ImageState, Label, Quality, Said
from db.reasons import Reason
from trainer.pixels import to_rgb

_BATCH = 256
"""Images between two transactions: what a stop costs."""

Measures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is on record of an image."""

    id: int
    sha256: str
    format: str
    measures: Measures | None
    """None where they are to be taken, for the first time or in another way."""


def record_new(session: Session, images: Iterable[tuple[int, Measures, Reason | None]]) -> None:
    """Write down measures and findings of images that were just stored, by id. They have no label yet."""
    rows = [
        {"image_id": number, "method": METHOD, "measures": dict(measures), "finding": finding}
        for number, measures, finding in images
    ]
    session.execute(insert(Quality), rows, execution_options={"autoflush": False})


def settle(session: Session, image_ids: Iterable[int]) -> int:
    """Derive anew whether these images are in use, as after a change of labels; give how many changed.

    Groups of duplicates follow: what is set aside stands for others only where all of them are. An image that was
    never measured, nor spoken of by a person, is left as it is, and so is a forgotten one.
    """
    changed = 0
    grouped = False
    for ids in chunks(sorted(set(image_ids))):
        labelled = set(session.scalars(select(Label.image_id).where(Label.image_id.in_(ids))))
        query = select(Image, Quality).join(Quality, Quality.image_id == Image.id)
        for image, quality in session.execute(query.where(Image.id.in_(ids), Image.state != ImageState.FORGOTTEN)):
            wanted = _state(quality, labelled=image.id in labelled)
            if wanted != (image.state, image.state_reason):
                grouped = grouped or (image.group_id is not None and wanted[0] is not image.state)
                image.state, image.state_reason = wanted
                changed += 1
        session.flush()
    if grouped:
        regroup(session)
    return changed


def follow_labels(session: Session) -> int:
    """Settle every image of which a check or a person spoke, since labels came or went; give how many changed."""
    spoken = Quality.finding.is_not(None) | Quality.said.is_not(None)
    return settle(session, session.scalars(select(Quality.image_id).where(spoken)).all())


def _state(quality: Quality, *, labelled: bool) -> tuple[ImageState, Reason | None]:
    if quality.said is Said.ASIDE:
        return ImageState.SET_ASIDE, Reason.BY_PERSON
    if quality.finding is None or labelled or quality.said is Said.KEEP:
        return ImageState.STORED, None
    return ImageState.SET_ASIDE, quality.finding


def recheck(project: Project, progress: Progress = QUIET) -> int:
    """Check every image under the present thresholds, and measure what was not; give how many states changed.

    One that was stopped is gone on with by running it again: what was measured is kept. Raises StoreError for a stored
    image that is gone or damaged.
    """
    with project.database.read() as session:
        total = session.scalar(select(func.count()).where(Image.state != ImageState.FORGOTTEN)) or 0
    last, changed = 0, 0
    with (
        progress.task("checking quality", total, "images") as task,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        while known := _after(project, last):
            last = known[-1].id
            missing = [one for one in known if one.measures is None]
            taken = pool.map(lambda one: _measure_file(project.store.read(one.sha256, one.format)), missing)
            new = dict(zip((one.id for one in missing), taken, strict=True))
            with project.database.write() as session:
                changed += _write(project, session, [one.id for one in known], new)
            task.advance(len(known))
    return changed


def _after(project: Project, last: int) -> Sequence[_Known]:
    """The next images by id that are not forgotten."""
    columns = (Image.id, Image.sha256, Image.format, Quality.method, Quality.measures)
    query = select(*columns).outerjoin(Quality, Quality.image_id == Image.id).order_by(Image.id).limit(_BATCH)
    with project.database.read() as session:
        rows = session.execute(query.where(Image.id > last, Image.state != ImageState.FORGOTTEN)).all()
    return [
        _Known(number, sha256, image_format, measures if method == METHOD else None)
        for number, sha256, image_format, method, measures in rows
    ]


def _measure_file(data: bytes) -> dict[str, float]:
    try:
        with Pillow.open(io.BytesIO(data)) as image:
            rgb = to_rgb(image)
            return measure(rgb, rgb.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise StoreError(f"a stored image is damaged ({error}); `curate doctor` finds which") from error


def _write(project: Project, session: Session, ids: Sequence[int], new: Mapping[int, Measures]) -> int:
    """Keep new measures, and decide all of these images again. What was forgotten meanwhile is passed over."""
    query = select(Image.id).where(Image.id.in_(ids), Image.state != ImageState.FORGOTTEN)
    present = set(session.scalars(query))
    rows = {row.image_id: row for row in session.scalars(select(Quality).where(Quality.image_id.in_(present)))}
    for number in sorted(present & new.keys()):
        row = rows.setdefault(number, Quality(image_id=number))
        row.method, row.measures = METHOD, dict(new[number])
        session.add(row)
    for row in rows.values():
        found = find(row.measures, project.settings.quality)
        row.finding = None if found is None else found.reason
    session.flush()
    return settle(session, present)


def say(project: Project, keep: Sequence[str], aside: Sequence[str]) -> None:
    """Record what a person says of images, which no later check overrules. Raises DatasetError for what is no image."""
    with project.database.read() as session:  # a file is read for its hash: no writer has to wait for that
        words = {lookup.find_image(session, given).id: Said.KEEP for given in keep}
        for given in aside:
            number = lookup.find_image(session, given).id
            if words.get(number) is Said.KEEP:
                raise DatasetError(f"image {number} cannot be kept and set aside at once")
            words[number] = Said.ASIDE
    with project.database.write() as session:
        for number, word in sorted(words.items()):
            if session.get_one(Image, number).state is ImageState.FORGOTTEN:
                raise DatasetError(f"image {number} is forgotten")
            # Without measures as yet: the next check takes them.
            row = session.get(Quality, number) or Quality(image_id=number, method="", measures={})
            row.said = word
            session.add(row)
        session.flush()
        settle(session, words)
