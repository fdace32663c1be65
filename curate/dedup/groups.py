"""From verified pairs to groups: connected components, each with one keeper."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.batches import chunks
from db.models import PERSON, DuplicateGroup, DuplicatePair, Image, ImageState, Quality

_MARKED = 4


def components(pairs: Iterable[tuple[int, int]], apart: Iterable[tuple[int, int]] = ()) -> list[list[int]]:
    """Connected components of a graph given by its edges (union-find, path halving); each sorted, smallest first.

    No two images of `apart` come together: an edge that would join them is left out, so the surest come first.
    """
    parent: dict[int, int] = {}
    foes: dict[int, set[int]] = {}
    for a, b in apart:
        foes.setdefault(a, set()).add(b)
        foes.setdefault(b, set()).add(a)

    def root(node: int) -> int:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        if low == high or any(root(foe) == low for foe in foes.get(high, ())):
            continue
        parent[high] = low
        if high in foes:
            foes.setdefault(low, set()).update(foes.pop(high))
    members: dict[int, list[int]] = {}
    for node in parent:
        members.setdefault(root(node), []).append(node)
    return sorted(sorted(group) for group in members.values() if len(group) > 1)


@dataclass(frozen=True, slots=True)
class Standing:
    """An image as far as grouping asks."""

    state: ImageState
    pixels: float
    """Of the picture within its frame, if it has one."""
    sharpness: float
    group_id: int | None
    is_keeper: bool
    marked: bool = False
    """A copy of it lacks what lies over it."""


def keeper_of(members: Iterable[int], images: Mapping[int, Standing]) -> int:
    """Choose who stands for a group: in use before set aside, then the largest, the sharpest, the first.

    A frame does not make a picture larger, and one with a watermark must have more than _MARKED times the pixels.
    """

    def rank(number: int) -> tuple[bool, float, float, int]:
        image = images[number]
        pixels = image.pixels / _MARKED if image.marked else image.pixels
        return image.state is ImageState.STORED, pixels, image.sharpness, -number

    return max(members, key=rank)


def regroup(session: Session) -> int:
    """Make groups and keepers follow the pairs on record; give the number of images whose standing changed.

    A group keeps its id as long as one of its images stays in it. What a person told apart is in no group together,
    also where a third image is a copy of both: that one goes where it is more alike.
    """
    groups = components(*_pairs(session))
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


def bridge(session: Session, gone: Collection[int]) -> None:
    """Keep what is left of a group together when images leave it for good, before their pairs go.

    Two copies of one photograph need not have been looked at side by side: without it they could lie on both sides of a
    split. What a person said of the image that goes holds for them; what a search found holds as long as it does.
    """
    for batch in chunks(gone):
        groups: dict[int, dict[int, int]] = {}
        mine = select(Image.group_id).where(Image.id.in_(batch), Image.group_id.is_not(None))
        for number, group_id, phash in session.execute(
            select(Image.id, Image.group_id, Image.phash).where(Image.group_id.in_(mine))
        ):
            groups.setdefault(group_id or 0, {})[number] = phash
        for group_id, members in groups.items():
            _bridge(session, group_id, members, set(gone))
    session.flush()


def _bridge(session: Session, group_id: int, hashes: Mapping[int, int], gone: Collection[int]) -> None:
    """Join the members of one group, given with their pHashes, of whom some go."""
    query = select(DuplicatePair).join(Image, Image.id == DuplicatePair.low_id).where(Image.group_id == group_id)
    same = session.scalars(query.where(DuplicatePair.same))
    pairs = [pair for pair in same if pair.low_id in hashes and pair.high_id in hashes]
    staying = [pair for pair in pairs if pair.low_id not in gone and pair.high_id not in gone]
    parts = components([(pair.low_id, pair.high_id) for pair in staying])
    alone = sorted(set(hashes).difference(gone, *parts))
    going = [pair for pair in pairs if pair not in staying]
    verifier = min((pair.verifier for pair in going if pair.verifier != PERSON), default=PERSON)
    for low, high in pairwise(sorted([*(part[0] for part in parts), *alone])):
        joined = DuplicatePair(low_id=low, high_id=high, same=True, verifier=verifier, marked_id=None)
        joined.distance = ((hashes[low] ^ hashes[high]) % 2**64).bit_count()
        joined.score = min((pair.score for pair in going), default=1.0)
        joined.reason = "copies of an image that is forgotten"
        session.merge(joined)


def _pairs(session: Session) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs that are the same, a person's first, then the most alike; and pairs that a person told apart."""
    by_person = DuplicatePair.verifier == PERSON
    columns = select(DuplicatePair.low_id, DuplicatePair.high_id)
    order = (by_person.desc(), DuplicatePair.score.desc(), DuplicatePair.low_id, DuplicatePair.high_id)
    same = session.execute(columns.where(DuplicatePair.same).order_by(*order))
    apart = session.execute(columns.where(DuplicatePair.same.is_(False), by_person))
    return [(low, high) for low, high in same], [(low, high) for low, high in apart]


def _standings(session: Session, groups: Iterable[Iterable[int]]) -> dict[int, Standing]:
    """Images that are in a group now, or will be."""
    members = {number for group in groups for number in group}
    columns = (Image.id, Image.state, Image.width, Image.height, Image.sharpness, Image.group_id, Image.is_keeper)
    same = DuplicatePair.same
    paired = select(DuplicatePair.low_id).where(same).union(select(DuplicatePair.high_id).where(same))
    query = select(*columns, Quality.measures).outerjoin(Quality, Quality.image_id == Image.id)
    marked = set(session.scalars(select(DuplicatePair.marked_id).where(same, DuplicatePair.marked_id.is_not(None))))
    found: dict[int, Standing] = {}
    for row in session.execute(query.where(Image.group_id.is_not(None) | Image.id.in_(paired))):
        number, state, width, height, sharpness, group_id, is_keeper, measures = row
        if number in members or group_id is not None:
            pixels = width * height * (measures or {}).get("inside", 1.0)
            found[number] = Standing(state, pixels, sharpness, group_id, is_keeper, number in marked)
    return found


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
