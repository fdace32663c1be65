"""What a split is chosen from: labelled keepers with their copies, their source, and where they stood before."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from curate.config import class_key
from curate.split.choose import Keeper
from curate.split.freeze import latest_snapshot
from db.batches import chunks
from db.classes import ids_now
from db.labels import keeper_labels
from db.models import Image, Other, Side, Sighting, Snapshot, SnapshotItem, SnapshotOutsider

OF_NONE = 0
"""Stands where a class's id would, for images of none of the classes. No class has it."""


def labelled(session: Session) -> dict[int, list[Keeper]]:
    """Keepers whose label counts, by class id, and as `OF_NONE` those of no class; those in conflict are left out."""
    classes: dict[int, int] = {}
    for label in keeper_labels(session):
        if label.class_id is not None:
            classes[label.keeper_id] = label.class_id
        elif label.other is Other.NONE:
            classes[label.keeper_id] = OF_NONE
    past = _past(session)
    found: dict[int, list[Keeper]] = defaultdict(list)
    for keeper, members in with_copies(session, classes):
        class_id = classes[keeper.image_id]
        keeper.held_out = any(member in past.held_out for member in members)
        sides = {side for member in members for of, side in [past.latest.get(member, (None, None))] if of == class_id}
        keeper.stood = next((side for side in (Side.VALIDATION, Side.TRAIN) if side in sides), None)
        found[class_id].append(keeper)
    return found


def with_copies(session: Session, ids: Iterable[int]) -> Iterator[tuple[Keeper, list[int]]]:
    """Yield keepers with the hashes of all their copies and their own source, and the ids of copies and keeper."""
    keepers: dict[int, tuple[Keeper, list[int]]] = {}
    of_group: dict[int, int] = {}
    for batch in chunks(ids):
        rows = session.execute(select(Image.id, Image.sha256, Image.group_id).where(Image.id.in_(batch)))
        for number, sha256, group_id in rows:
            keepers[number] = (Keeper(number, [sha256]), [number])
            if group_id is not None:
                of_group[group_id] = number
        for shown, source in session.execute(_first_sources(batch)):
            keepers[shown or 0][0].source = source  # none is without an image: they were asked for by image
    for batch in chunks(of_group):
        query = select(Image.id, Image.sha256, Image.group_id).where(Image.group_id.in_(batch))
        for number, sha256, group_id in session.execute(query.where(Image.is_keeper.is_(False))):
            keeper, members = keepers[of_group[group_id or 0]]  # nor without a group
            keeper.hashes.append(sha256)
            members.append(number)
    yield from keepers.values()


def _first_sources(ids: Iterable[int]) -> Select[int | None, str]:
    first = select(func.min(Sighting.id)).where(Sighting.image_id.in_(ids)).group_by(Sighting.image_id)
    return select(Sighting.image_id, Sighting.source).where(Sighting.id.in_(first))


@dataclass(frozen=True, slots=True)
class _Past:
    """Images that any snapshot validates on; and class id, or `OF_NONE`, and side of those in the latest."""

    held_out: set[int]
    latest: Mapping[int, tuple[int | None, Side]]


def _past(session: Session) -> _Past:
    held_out: set[int] = set()
    for table in (SnapshotItem, SnapshotOutsider):
        held_out.update(session.scalars(select(table.image_id).where(table.side == Side.VALIDATION).distinct()))
    latest = latest_snapshot(session)
    if latest is None:
        return _Past(held_out, {})
    ids = class_ids(session, latest)
    stood: dict[int, tuple[int | None, Side]] = {
        item.image_id: (ids[item.class_index], item.side) for item in latest.items
    }
    return _Past(held_out, stood | {item.image_id: (OF_NONE, item.side) for item in latest.outsiders})


def class_ids(session: Session, snapshot: Snapshot) -> list[int | None]:
    """Ids of what a snapshot's classes count as now, in its order; None for one that was removed."""
    return ids_now(session, map(class_key, snapshot.classes))
