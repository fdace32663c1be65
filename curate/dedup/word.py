"""A person's word on duplicates: a group taken apart, two images joined. It outlasts every search."""

from collections.abc import Collection, Iterable
from itertools import combinations, groupby
from operator import itemgetter

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from curate import lookup
from curate.dedup.groups import regroup
from curate.project import Project
from db.batches import chunks
from db.errors import DatasetError
from db.models import PERSON, DuplicatePair, Image, ImageState

_APART = "told apart by a person"
_JOINED = "joined by a person"
_BITS = 64
"""Of SQLite's numbers, with their sign: it takes no longer one."""


def take_apart(project: Project, *groups: int) -> list[list[int]]:
    """Record that no two images of a group are the same photograph; give the ids of each group's images.

    All of `groups`, or none of them: raises DatasetError for one that is not there.
    """
    taken: list[list[int]] = []
    with project.lock("dedup"), project.database.write() as session:
        for group in dict.fromkeys(groups):
            known = group.bit_length() < _BITS
            query = select(Image.id).where(Image.group_id == group).order_by(Image.id)
            members = session.scalars(query).all() if known else []
            if not members:
                raise DatasetError(f"there is no group {group}; `curate dedup --json` lists the groups")
            _write(session, [*combinations(members, 2)], same=False, reason=_APART)
            taken.append(list(members))
        regroup(session)
    return taken


def join(project: Project, first: str, second: str) -> int:
    """Record that two images are the same photograph, whatever was said of their groups before; give their group.

    Raises DatasetError for what is no image here, or one and the same.
    """
    with project.database.read() as session:  # a file is read for its hash: no writer has to wait for that
        low, high = sorted(lookup.find_image(session, given).id for given in (first, second))
    if low == high:
        raise DatasetError(f"{first} and {second} are one and the same image")
    with project.lock("dedup"), project.database.write() as session:
        images = [session.get_one(Image, number) for number in (low, high)]
        for image in images:
            if image.state is ImageState.FORGOTTEN:
                raise DatasetError(f"image {image.id} is forgotten")
        _unsay(session, _members(session, images))
        _write(session, [(low, high)], same=True, reason=_JOINED)
        regroup(session)
        group = session.scalar(select(Image.group_id).where(Image.id == low).execution_options(populate_existing=True))
    assert group is not None  # noqa: S101 - regrouping has put it into one
    return group


def _members(session: Session, images: Iterable[Image]) -> set[int]:
    """These images and those in their groups."""
    found = {image.id for image in images}
    groups = {image.group_id for image in images if image.group_id is not None}
    return found | set(session.scalars(select(Image.id).where(Image.group_id.in_(groups))))


def _unsay(session: Session, members: Collection[int]) -> None:
    """Take back that any two of these are apart: who joins two groups wants all of both together."""
    both = DuplicatePair.low_id.in_(members) & DuplicatePair.high_id.in_(members)
    apart = DuplicatePair.same.is_(False) & (DuplicatePair.verifier == PERSON)
    session.execute(delete(DuplicatePair).where(both, apart))


def _write(session: Session, pairs: Collection[tuple[int, int]], *, same: bool, reason: str) -> None:
    """Put a person's word in the place of what was found. As rows: a group of 300 has 45,000 pairs."""
    hashes: dict[int, int] = {}
    for batch in chunks({number for pair in pairs for number in pair}):
        found_hashes = session.execute(select(Image.id, Image.phash).where(Image.id.in_(batch)))
        hashes.update((row[0], row[1]) for row in found_hashes)
    for low, some in groupby(sorted(pairs), key=itemgetter(0)):
        for batch in chunks(high for _, high in some):
            found = (DuplicatePair.low_id == low) & DuplicatePair.high_id.in_(batch)
            session.execute(delete(DuplicatePair).where(found))
    said = {"score": float(same), "reason": reason, "same": same, "verifier": PERSON, "marked_id": None}
    rows = [
        {"low_id": low, "high_id": high, "distance": ((hashes[low] ^ hashes[high]) % 2**64).bit_count(), **said}
        for low, high in pairs
    ]
    session.execute(insert(DuplicatePair), rows)
