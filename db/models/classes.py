"""Every change of the list of classes, since the first one was made."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, ByValue, now


class ChangeKind(StrEnum):
    """What became of the list."""

    ADD = "add"
    RENAME = "rename"
    MERGE = "merge"
    REMOVE = "remove"


class ClassChange(Base):
    """One change, written in the transaction that makes it.

    `curate.toml` follows after that. Until it has, `settings_at` is empty, and whatever is run next sees to it.
    """

    __tablename__ = "class_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[ChangeKind] = mapped_column(ByValue(ChangeKind))
    names: Mapped[list[str]]
    """What was added, renamed, merged or removed."""
    into: Mapped[str] = mapped_column(default="")
    """What it was renamed to, or merged into."""
    before: Mapped[list[str]]
    after: Mapped[list[str]]
    """All classes, in order."""
    made_at: Mapped[datetime] = mapped_column(default=now)
    settings_at: Mapped[datetime | None]
