"""Frozen snapshots of the split, the runs trained on them, and what those predict."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.base import Base, ByValue, Sha256, now


class Side(StrEnum):
    """Which part of the split an image is in."""

    TRAIN = "train"
    VALIDATION = "validation"


class Snapshot(Base):
    """A split as it was, for good: never changed, so that a run can always say what it learned from."""

    __tablename__ = "snapshots"

    id: Mapped[int] = mapped_column(primary_key=True)
    content_sha256: Mapped[str] = mapped_column(Sha256)
    """Of every image, its class, or that it has none, and its side: equal contents, equal hash."""
    seed: Mapped[int]
    target: Mapped[int]
    validation: Mapped[int]
    classes: Mapped[list[str]]
    """Names as they were, in order; `SnapshotItem.class_index` counts in this list."""
    created_at: Mapped[datetime] = mapped_column(default=now)

    items: Mapped[list["SnapshotItem"]] = relationship(order_by="SnapshotItem.image_id")
    outsiders: Mapped[list["SnapshotOutsider"]] = relationship(order_by="SnapshotOutsider.image_id")


class SnapshotItem(Base):
    """One image in a snapshot."""

    __tablename__ = "snapshot_items"
    __table_args__ = (Index("ix_snapshot_items_image_side", "image_id", "side"),)

    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    class_index: Mapped[int]
    side: Mapped[Side] = mapped_column(ByValue(Side))


class SnapshotOutsider(Base):
    """An image of none of the classes, as people said, from which a run learns what lies outside of them."""

    __tablename__ = "snapshot_outsiders"
    __table_args__ = (Index("ix_snapshot_outsiders_image_side", "image_id", "side"),)

    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    side: Mapped[Side] = mapped_column(ByValue(Side))


class RunState(StrEnum):
    """`running` without a living process is a run that was killed and can be resumed."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Run(Base):
    """One training run; its files are in `runs/<name>/`."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id"), index=True)
    state: Mapped[RunState] = mapped_column(ByValue(RunState), default=RunState.RUNNING)
    problem: Mapped[str] = mapped_column(default="")
    """Why it failed, in one line."""
    arch: Mapped[str]
    options: Mapped[dict[str, Any]]
    classes: Mapped[list[str]]
    best_epoch: Mapped[int | None]
    validation_accuracy: Mapped[float | None]
    validation_images: Mapped[int | None]
    images_per_second: Mapped[float | None]
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Prediction(Base):
    """What a run says of an image."""

    __tablename__ = "predictions"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True, index=True)
    class_index: Mapped[int]
    """Of the most probable class, counted in `Run.classes`."""
    score: Mapped[float]
    """Calibrated probability of that class."""
    outside: Mapped[bool]
    """Less sure than nearly all validation images: perhaps nothing of what it knows."""
    probabilities: Mapped[list[float]]
    predicted_at: Mapped[datetime] = mapped_column(default=now)
