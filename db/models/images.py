"""Classes, images, where they were seen, and which of them are the same photograph."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.base import Base, ByValue, Sha256, now
from db.reasons import Reason
from db.store import relative_path


class Class(Base):
    """One thing to tell apart from the others; or, with `retired_at`, what once was one. See `db.classes`."""

    __tablename__ = "classes"
    __table_args__ = (
        # A class may take the name of one that was merged into it: only among present ones a name stands once.
        Index(
            "uq_classes_key_of_present",
            "key",
            unique=True,
            sqlite_where=text("retired_at IS NULL"),
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    key: Mapped[str]
    """The name, case-folded: two classes that differ in case alone would be one folder on some disks."""
    position: Mapped[int]
    retired_at: Mapped[datetime | None]
    """Since when it is no class any more. The row stays: answers on record say it."""
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    """The class that a retired one counts as; none for one that was removed."""
    renamed: Mapped[bool] = mapped_column(default=False)
    """Never a class of its own: the name that `merged_into_id` had once."""


class ImageState(StrEnum):
    """Whether an image takes part."""

    STORED = "stored"
    SET_ASIDE = "set_aside"
    FORGOTTEN = "forgotten"


class Image(Base):
    """One stored file, the same bytes only once."""

    __tablename__ = "images"
    __table_args__ = (
        # At most one keeper a group, by the database's own hand.
        Index(
            "uq_images_keeper_of_group",
            "group_id",
            unique=True,
            sqlite_where=text("is_keeper AND group_id IS NOT NULL"),
            postgresql_where=text("is_keeper AND group_id IS NOT NULL"),
        ),
        CheckConstraint("is_keeper OR group_id IS NOT NULL", name="keeper_unless_grouped"),
        Index("ix_images_counts", "collected_for_id", "is_keeper", "state"),  # what `curate status` counts
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    phash: Mapped[int] = mapped_column(BigInteger)
    """64 bits of `imagehash.phash`, as a signed integer."""
    width: Mapped[int]
    height: Mapped[int]
    format: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    sharpness: Mapped[float]
    state: Mapped[ImageState] = mapped_column(ByValue(ImageState), default=ImageState.STORED)
    state_reason: Mapped[Reason | None] = mapped_column(ByValue(Reason))
    collected_for_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    """The class whose query found it first: a guess, never a label."""
    group_id: Mapped[int | None] = mapped_column(ForeignKey("duplicate_groups.id"), index=True)
    is_keeper: Mapped[bool] = mapped_column(default=True)
    compared_with: Mapped[str | None]
    """The duplicate search that has seen this image, so that the next one compares only what is new."""
    stored_at: Mapped[datetime] = mapped_column(default=now)

    sightings: Mapped[list["Sighting"]] = relationship(back_populates="image", order_by="Sighting.id")

    @property
    def relative_path(self) -> str:
        """Path below the image store's folder."""
        return relative_path(self.sha256, self.format)


class CandidateState(StrEnum):
    """How far an address has come. `pending` and `claimed` are open, the others decided."""

    PENDING = "pending"
    CLAIMED = "claimed"
    STORED = "stored"
    DUPLICATE = "duplicate"
    FAILED = "failed"


class Candidate(Base):
    """One file address that was offered, and what became of it. A crawl's work list, and its memory."""

    __tablename__ = "candidates"
    __table_args__ = (
        Index("ix_candidates_state_class", "state", "collected_for_id"),
        Index("ix_candidates_target_state", "target", "state"),  # what a crawl takes up next
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(unique=True)
    local: Mapped[bool] = mapped_column(default=False)
    """A file that the user pointed at. Only these are read from the disk: a `file:` URL from the web never is."""
    host: Mapped[str] = mapped_column(default="")
    """Scheme, name and port of its address; empty for a file."""
    collected_for_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    target: Mapped[str] = mapped_column(default="")
    """What is being collected when it is fetched: `class:<id>`, or a free query or list as the user gave it."""
    state: Mapped[CandidateState] = mapped_column(ByValue(CandidateState), default=CandidateState.PENDING)
    reason: Mapped[Reason | None] = mapped_column(ByValue(Reason))
    http_status: Mapped[int | None]
    detail: Mapped[str] = mapped_column(default="")
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    etag: Mapped[str] = mapped_column(default="")
    last_modified: Mapped[str] = mapped_column(default="")
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id"), index=True)
    found_at: Mapped[datetime] = mapped_column(default=now)
    decided_at: Mapped[datetime | None]


class Sighting(Base):
    """That a source showed an image: where, for which query, under which licence."""

    __tablename__ = "sightings"
    __table_args__ = (UniqueConstraint("candidate_id", "source", "query", "image_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id"), index=True)
    """Known once the candidate's bytes were taken; the same image may be seen at many addresses."""
    source: Mapped[str]
    query: Mapped[str] = mapped_column(default="")
    class_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    name: Mapped[str] = mapped_column(default="")
    """The file's name as it came, for people. Never used as a path."""
    page_url: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    creator: Mapped[str] = mapped_column(default="")
    creator_url: Mapped[str] = mapped_column(default="")
    licence: Mapped[str] = mapped_column(default="")
    """As SPDX names it, or in the same manner; empty where nothing is known. See `curate.rights`."""
    licence_said: Mapped[str] = mapped_column(default="")
    """In the source's own words."""
    licence_url: Mapped[str] = mapped_column(default="")
    attribution: Mapped[str] = mapped_column(default="")
    source_id: Mapped[str] = mapped_column(default="")
    extra: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What else the source said, as it said it."""
    seen_at: Mapped[datetime] = mapped_column(default=now)

    image: Mapped[Image | None] = relationship(back_populates="sightings")
    candidate: Mapped[Candidate] = relationship()


class DuplicateGroup(Base):
    """Images that are the same photograph: a connected component of verified pairs."""

    __tablename__ = "duplicate_groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Layout(Base):
    """Where the edges of an image run, so that copies can be looked for among all images without opening them."""

    __tablename__ = "layouts"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    method: Mapped[str]
    """Vectors of different methods are never compared."""
    vector: Mapped[bytes]
    """Signed bytes; see `curate.dedup.layout`."""
    reach: Mapped[bytes | None]
    """How alike another image must be, part by part, to be among its nearest, once those were looked for: floats."""


PERSON = "person"
"""Stands as `DuplicatePair.verifier` where a person has decided. No search ever changes such a row."""


class DuplicatePair(Base):
    """Two images that were looked at: the same photograph, or nearly so. `low_id` is the smaller id.

    Of pairs that are not the same, those are kept that came close, and those that a person told apart.
    """

    __tablename__ = "duplicate_pairs"
    __table_args__ = (CheckConstraint("low_id < high_id", name="ordered"),)

    low_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    high_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True, index=True)
    distance: Mapped[int]
    """Bits in which the two hashes differ, 0-64."""
    score: Mapped[float]
    """The verifier's measure, 0-1: how much of what both show agrees."""
    reason: Mapped[str] = mapped_column(default="")
    """What decided, in words."""
    verifier: Mapped[str]
    same: Mapped[bool] = mapped_column(default=True)
    marked_id: Mapped[int | None] = mapped_column(ForeignKey("images.id"))
    """Which of the two has something laid over it that the other lacks, such as a watermark."""
    found_at: Mapped[datetime] = mapped_column(default=now)


class Said(StrEnum):
    """What a person says of an image that a quality check may think too poor: use it, or do not."""

    KEEP = "keep"
    ASIDE = "aside"


class Quality(Base):
    """How good an image is as a picture, and what follows from it. See `curate.quality`."""

    __tablename__ = "qualities"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    method: Mapped[str]
    """How it was measured; measured anew where this is another."""
    measures: Mapped[dict[str, Any]]
    """Numbers by name."""
    finding: Mapped[Reason | None] = mapped_column(ByValue(Reason))
    """The first check that it fails under the present thresholds. It may be in use all the same: see `said`."""
    said: Mapped[Said | None] = mapped_column(ByValue(Said))
