"""Snapshots: a split written down for good, and found again by its content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from curate.config import DatasetSettings
from db.batches import chunks
from db.errors import DatasetError
from db.models import Image, ImageState, Side, Snapshot, SnapshotItem, SnapshotOutsider

_NAMED = 3
"""Images that one line names."""


@dataclass(frozen=True)
class Chosen:
    """What a snapshot is to hold, by the images' ids."""

    sides: dict[int, tuple[int, Side]] = field(default_factory=dict)
    """Class index and side."""
    outsiders: dict[int, Side] = field(default_factory=dict)
    """Of images of none of the classes."""


def freeze(session: Session, classes: Sequence[str], chosen: Chosen, settings: DatasetSettings) -> Snapshot:
    """Write a snapshot, unless the latest says the same."""
    content = _content_hash(session, classes, chosen)
    latest = latest_snapshot(session)
    if latest is not None and latest.content_sha256 == content:
        return latest
    snapshot = Snapshot(
        content_sha256=content,
        seed=settings.seed,
        target=settings.target,
        validation=settings.validation,
        classes=list(classes),
        items=[SnapshotItem(image_id=i, class_index=index, side=side) for i, (index, side) in chosen.sides.items()],
        outsiders=[SnapshotOutsider(image_id=i, side=side) for i, side in chosen.outsiders.items()],
    )
    session.add(snapshot)
    session.flush()
    return snapshot


def _content_hash(session: Session, classes: Sequence[str], chosen: Chosen) -> str:
    """Hash what the snapshot says, by content alone: two databases with the same images and labels agree."""
    said = {i: f"{side.value}\t{classes[index]}" for i, (index, side) in chosen.sides.items()}
    said |= {i: side.value for i, side in chosen.outsiders.items()}  # no class: none has an empty name
    lines = []
    for ids in chunks(said):
        for image_id, sha256 in session.execute(select(Image.id, Image.sha256).where(Image.id.in_(ids))):
            lines.append(f"{sha256}\t{said[image_id]}")
    return hashlib.sha256("\n".join([*classes, "", *sorted(lines)]).encode()).hexdigest()


def latest_snapshot(session: Session) -> Snapshot | None:
    """The present split."""
    return session.scalars(select(Snapshot).order_by(Snapshot.id.desc()).limit(1)).first()


def snapshot_before(session: Session, snapshot: Snapshot) -> Snapshot | None:
    """The split that stood before this one."""
    earlier = select(Snapshot).where(Snapshot.id < snapshot.id)
    return session.scalars(earlier.order_by(Snapshot.id.desc()).limit(1)).first()


def refuse_forgotten(session: Session, snapshot_id: int) -> None:
    """Raise DatasetError, naming them, when images of a frozen snapshot were forgotten since."""
    mine = [select(t.image_id).where(t.snapshot_id == snapshot_id) for t in (SnapshotItem, SnapshotOutsider)]
    query = select(Image.id).where(Image.id.in_(union(*mine)), Image.state == ImageState.FORGOTTEN).order_by(Image.id)
    gone = session.scalars(query).all()
    if gone:
        named = ", ".join(map(str, gone[:_NAMED])) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
        raise DatasetError(
            f"split {snapshot_id} has images that were forgotten ({named}); make a new one with `curate split`"
        )
