"""Snapshots: a split written down for good, and found again by its content."""

import hashlib
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.config import DatasetSettings
from db.batches import chunks
from db.errors import DatasetError
from db.models import Image, ImageState, Side, Snapshot, SnapshotItem

_NAMED = 3
"""Images that one line names."""


def freeze(
    session: Session, classes: Sequence[str], sides: Mapping[int, tuple[int, Side]], settings: DatasetSettings
) -> Snapshot:
    """Write a snapshot, unless the latest says the same. `sides` has each image's class index and side, by its id."""
    content = _content_hash(session, classes, sides)
    latest = latest_snapshot(session)
    if latest is not None and latest.content_sha256 == content:
        return latest
    snapshot = Snapshot(
        content_sha256=content,
        seed=settings.seed,
        target=settings.target,
        validation=settings.validation,
        classes=list(classes),
        items=[SnapshotItem(image_id=i, class_index=index, side=side) for i, (index, side) in sides.items()],
    )
    session.add(snapshot)
    session.flush()
    return snapshot


def _content_hash(session: Session, classes: Sequence[str], sides: Mapping[int, tuple[int, Side]]) -> str:
    """Hash what the snapshot says, by content alone: two databases with the same images and labels agree."""
    lines = []
    for ids in chunks(sides):
        for image_id, sha256 in session.execute(select(Image.id, Image.sha256).where(Image.id.in_(ids))):
            index, side = sides[image_id]
            lines.append(f"{sha256}\t{side.value}\t{classes[index]}")
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
    mine = (SnapshotItem.snapshot_id == snapshot_id) & (Image.state == ImageState.FORGOTTEN)
    query = select(Image.id).join(SnapshotItem, SnapshotItem.image_id == Image.id).where(mine).order_by(Image.id)
    gone = session.scalars(query).all()
    if gone:
        named = ", ".join(map(str, gone[:_NAMED])) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
        raise DatasetError(
            f"split {snapshot_id} has images that were forgotten ({named}); make a new one with `curate split`"
        )
