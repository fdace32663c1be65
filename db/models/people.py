"""Who labels, by which rule one of several answers counts, and which images somebody is asked to look at again."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, ByValue, now


class Annotator(Base):
    """A person with an account on a Label Studio server."""

    __tablename__ = "annotators"
    __table_args__ = (UniqueConstraint("server", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    server: Mapped[str]
    """As `LabellingProject.server` has it: numbers mean nothing elsewhere."""
    number: Mapped[str]
    email: Mapped[str]


class Policy(Base):
    """The rule that labels are derived by at present: one row, which `curate` keeps as `curate.toml` has it."""

    __tablename__ = "policies"

    id: Mapped[int] = mapped_column(primary_key=True)
    rule: Mapped[dict[str, Any]]


class ReviewReason(StrEnum):
    """Why a person is asked to look at an image again."""

    DISAGREEMENT = "disagreement"
    SUSPECT = "suspect"
    """An audit found its label probably wrong."""
    CHECK = "check"

    @property
    def decides(self) -> bool:
        """Whether the answer that follows outranks the rule for several. To a check it is an answer like any other."""
        return self is not ReviewReason.CHECK


class Review(Base):
    """An image that a person is asked to look at. Where that decides, what is answered then outranks all before."""

    __tablename__ = "reviews"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    reason: Mapped[ReviewReason] = mapped_column(ByValue(ReviewReason))
    detail: Mapped[str] = mapped_column(default="")
    """What was found, in words, beside the reason."""
    asked_at: Mapped[datetime] = mapped_column(default=now)
    known_until: Mapped[datetime]
    """When the latest answer was given that there was by then: by the server's clock, which may not be ours."""
    done_at: Mapped[datetime | None]
