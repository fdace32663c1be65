"""`curate status --quality`: what is set aside and why, and what a check finds poor but is in use all the same."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.project import Project
from curate.quality.checks import METHOD, find, value_of
from curate.quality.settings import QualitySettings
from db.models import Image, ImageState, Quality


@dataclass(frozen=True, slots=True)
class Poor:
    """One image that fails a check, or that a person set aside. Value and threshold are the check's."""

    id: int
    path: str
    reason: str
    value: float | None
    threshold: float | None
    in_use: bool
    """It has a label, or a person keeps it."""


class _Standing(Enum):
    UNCHECKED = auto()
    OUTDATED = auto()
    PRESENT = auto()


@dataclass(frozen=True, slots=True)
class Account:
    """Counts by reason, and every image in them."""

    checked: int
    """Images with measures, forgotten ones left out."""
    unchecked: int
    """Images without, as a database from before has them."""
    outdated: int
    """Images that the present thresholds would decide otherwise."""
    set_aside: dict[str, int]
    flagged: dict[str, int]
    images: list[Poor]


def account(project: Project) -> Account:
    """Tell how things stand. Changes nothing."""
    with project.database.read() as session:
        return _account(project, session)


def _account(project: Project, session: Session) -> Account:
    query = select(Image, Quality).outerjoin(Quality, Quality.image_id == Image.id).order_by(Image.id)
    standing: Counter[_Standing] = Counter()
    images = []
    for image, quality in session.execute(query.where(Image.state != ImageState.FORGOTTEN)):
        standing[_standing(quality, project.settings.quality)] += 1
        poor = _poor(image, quality, project.settings.quality)
        if poor is not None:
            images.append(poor)
    unchecked, outdated = standing[_Standing.UNCHECKED], standing[_Standing.OUTDATED]
    return Account(
        checked=standing.total() - unchecked,
        unchecked=unchecked,
        outdated=outdated,
        set_aside=dict(Counter(poor.reason for poor in images if not poor.in_use)),
        flagged=dict(Counter(poor.reason for poor in images if poor.in_use)),
        images=images,
    )


def _standing(quality: Quality | None, settings: QualitySettings) -> _Standing:
    if quality is None or quality.method != METHOD:
        return _Standing.UNCHECKED
    found = find(quality.measures, settings)
    reason = None if found is None else found.reason
    return _Standing.PRESENT if reason is quality.finding else _Standing.OUTDATED


def _poor(image: Image, quality: Quality | None, settings: QualitySettings) -> Poor | None:
    if quality is None:
        return None
    in_use = image.state is ImageState.STORED
    reason = quality.finding if in_use else image.state_reason
    if reason is None:
        return None
    numbers = value_of(reason, quality.measures, settings)
    value, threshold = numbers or (None, None)
    return Poor(image.id, f"images/{image.relative_path}", reason.value, value, threshold, in_use)
