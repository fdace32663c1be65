"""From verified pairs to groups: connected components, each with one keeper."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.batches import chunks
from db.models import DuplicateGroup, DuplicatePair, Image, ImageState


def components(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components of a graph given by its edges (union-find, path halving); each sorted, smallest first."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for node in parent:
        members.setdefault(root(node), []).append(node)
    return sorted(sorted(group) for group in members.values())


@dataclass(frozen=True, slots=True)
class Standing:
    """An image as far as grouping asks."""

    state: ImageState
    pixels: int
    sharpness: float
    group_id: int | None
    is_keeper: bool


def keeper_of(members: Iterable[int], images: Mapping[int, Standing]) -> int:
    """Choose who stands for a group: in use before set aside, then the largest, the sharpest, the first."""

    def rank(number: int) -> tuple[bool, int, float, int]:
        image = images[number]
        return image.state is ImageState.STORED, image.pixels, image.sharpness, -number

    return max(members, key=rank)


def regroup(session: Session) -> int:
    """Make groups and keepers follow the pairs on record; give the number of images whose standing changed.

    A group keeps its id as long as one of its images stays in it.
    """
    pairs = session.execute(select(DuplicatePair.low_id, DuplicatePair.high_id))
    groups = components((low, high) for low, high in pairs)
    images = _standings(session, groups)
    wanted: dict[int, tuple[int, bool]] = {}
    taken: set[int] = set()
    for members in groups:
        group_id = _group_id(session, members, images, taken)
        keeper = keeper_of(members, images)
        wanted.update({number: (group_id, number == keeper) for number in members})
    changed = _apply(session, wanted, images)
    session.execute(
        delete(DuplicateGroup).where(
            DuplicateGroup.id.not_in(select(Image.group_id).where(Image.group_id.is_not(None)))
        )
    )
    return changed


def _standings(session: Session, groups: Iterable[Iterable[int]]) -> dict[int, Standing]:
    """Images that are in a group now, or will be."""
    members = {number for group in groups for number in group}
    columns = (Image.id, Image.state, Image.width * Image.height, Image.sharpness, Image.group_id, Image.is_keeper)
    paired = select(DuplicatePair.low_id).union(select(DuplicatePair.high_id))
    rows = session.execute(select(*columns).where(Image.group_id.is_not(None) | Image.id.in_(paired)))
    standings = {row[0]: Standing(row[1], row[2], row[3], row[4], row[5]) for row in rows}
    return {number: s for number, s in standings.items() if number in members or s.group_id is not None}


def _group_id(session: Session, members: Iterable[int], images: Mapping[int, Standing], taken: set[int]) -> int:
    known = sorted({g for number in members if (g := images[number].group_id) is not None} - taken)
    if known:
        group_id = known[0]
    else:
        group = DuplicateGroup()
        session.add(group)
        session.flush()
        group_id = group.id
    taken.add(group_id)
    return group_id


def _apply(session: Session, wanted: Mapping[int, tuple[int, bool]], images: Mapping[int, Standing]) -> int:
    changes = {
        number: wanted.get(number, (None, True))
        for number, image in images.items()
        if wanted.get(number, (None, True)) != (image.group_id, image.is_keeper)
    }
    # Out of their old groups first: at no moment may a group have two keepers, the database sees to that.
    for number in changes:
        session.execute(update(Image).where(Image.id == number).values(group_id=None, is_keeper=True))
    for number, (group_id, is_keeper) in changes.items():
        session.execute(update(Image).where(Image.id == number).values(group_id=group_id, is_keeper=is_keeper))
    return len(changes)


def extra_copies(session: Session, ids: Collection[int]) -> int:
    """How many of these images show what others show: all of a group but one, or but none if others were there before.

    Adding images raises the number of different photographs by `len(ids)` less this.
    """
    chosen = set(ids)
    groups: dict[int, list[int]] = {}
    for batch in chunks(chosen):
        mine = select(Image.group_id).where(Image.id.in_(batch), Image.group_id.is_not(None))
        for group_id, number in session.execute(select(Image.group_id, Image.id).where(Image.group_id.in_(mine))):
            if group_id is not None:
                groups.setdefault(group_id, []).append(number)
    extra = 0
    for members in groups.values():
        known = chosen.intersection(members)
        extra += len(known) if len(known) < len(set(members)) else len(known) - 1
    return extra
