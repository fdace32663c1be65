"""Duplicates as they stand: groups, what contradicts itself in them, and copies that were never stored twice."""

from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.conflicts import Conflict, conflicts
from db.models import Candidate, CandidateState, Class, Image, ImageState, Sighting


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a group, and the file name it first came with."""

    id: int
    sha256: str
    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are the same photograph; `keeper` is the id of the one that stands for them.

    `group` is a number that stays as long as one of its images does.
    """

    group: int
    keeper: int
    members: list[Member]


@dataclass(frozen=True, slots=True)
class DedupReport:
    """What stands after a search."""

    images: int
    proposed: int
    """Pairs that hash alike or are laid out alike, and were looked at this time."""
    groups: list[Group]
    descriptor: str = "none"
    """The network that helped to propose pairs, as `dedup.descriptor` names it."""
    conflicts: list[Conflict] = field(default_factory=list)
    """Groups, and single images, whose labels differ."""
    exact_copies: int = 0
    """Addresses whose bytes were here already: they are stored once, and are in no group."""


def standing(session: Session, proposed: int = 0, descriptor: str = "none") -> DedupReport:
    """Give what the last search and what people said have come to. No pair is looked at."""
    images = session.scalar(select(func.count()).where(Image.state != ImageState.FORGOTTEN))
    copies = session.scalar(select(func.count()).where(Candidate.state == CandidateState.DUPLICATE))
    classes = {row.name: row.id for row in session.scalars(select(Class).where(Class.retired_at.is_(None)))}
    differing = conflicts(session, classes)
    return DedupReport(images or 0, proposed, groups(session), descriptor, differing, copies or 0)


def groups(session: Session) -> list[Group]:
    """All duplicate groups as they stand, with the file name each image first came with."""
    first = (
        select(Sighting.image_id, func.min(Sighting.id).label("id"))
        .join(Image, Image.id == Sighting.image_id)
        .where(Image.group_id.is_not(None))
        .group_by(Sighting.image_id)
        .subquery()
    )
    query = (
        select(Image.group_id, Image.id, Image.sha256, Image.is_keeper, Sighting.name)
        .outerjoin(first, first.c.image_id == Image.id)
        .outerjoin(Sighting, Sighting.id == first.c.id)
        .where(Image.group_id.is_not(None))
        .order_by(Image.group_id, Image.id)
    )
    members: dict[int, list[Member]] = {}
    keepers: dict[int, int] = {}
    for group_id, number, sha256, is_keeper, name in session.execute(query):
        assert group_id is not None  # noqa: S101 - the query says so; this is for the type checker
        members.setdefault(group_id, []).append(Member(number, sha256, name or ""))
        if is_keeper:
            keepers[group_id] = number
    return [Group(group_id, keepers[group_id], found) for group_id, found in members.items()]
