"""What a crawl remembers from run to run: how far each search has come, and how each host wants to be asked."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, ByValue, now


class SearchState(StrEnum):
    """`open` has more to show; `finished` was read to its end; `dropped` showed nothing new at its beginning."""

    OPEN = "open"
    FINISHED = "finished"
    DROPPED = "dropped"


class Search(Base):
    """One question to one source, and where in the answer to go on.

    `part` is a slice of a query that has more results than the source will show, or one page of a site.
    """

    __tablename__ = "searches"
    __table_args__ = (
        UniqueConstraint("source", "query", "part"),
        Index("ix_searches_target_state", "target", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    query: Mapped[str]
    part: Mapped[str] = mapped_column(default="")
    target: Mapped[str] = mapped_column(default="")
    """What it was last asked for; see `Candidate.target`."""
    start: Mapped[str] = mapped_column(default="")
    """The cursor it begins with, each time anew."""
    cursor: Mapped[str] = mapped_column(default="")
    """Where the next page begins, in the source's own terms."""
    state: Mapped[SearchState] = mapped_column(ByValue(SearchState), default=SearchState.OPEN)
    etag: Mapped[str] = mapped_column(default="")
    last_modified: Mapped[str] = mapped_column(default="")
    pages: Mapped[int] = mapped_column(default=0)
    shown: Mapped[int] = mapped_column(default=0)
    """Addresses that its pages showed, and of these the new ones."""
    fresh: Mapped[int] = mapped_column(default=0)
    asked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Host(Base):
    """How a host wants to be asked, as its answers have shown. Kept so that a restart forgets no pause."""

    __tablename__ = "hosts"

    address: Mapped[str] = mapped_column(primary_key=True)
    """Scheme, name and port: `https://example.org:8443`."""
    resume_at: Mapped[datetime | None]
    """It asked to be left alone until then."""
    interval: Mapped[float] = mapped_column(default=0.0)
    """Seconds between two requests."""
    updated_at: Mapped[datetime] = mapped_column(default=now)
