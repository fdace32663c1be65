"""What the split before validated on and this one does not: each image, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from curate.split.freeze import snapshot_before
from curate.split.keepers import class_ids
from db.batches import chunks
from db.labels import KeeperLabel, keeper_labels, said
from db.models import Image, ImageState, Side, Snapshot


class Gone(StrEnum):
    """Why an image is validated on no more."""

    FORGOTTEN = "forgotten"
    SET_ASIDE = "set_aside"
    COPY = "copy"
    """Another image of its group stands for it; `detail` has its id."""
    CONFLICT = "conflict"
    """What is said of it and its copies differs."""
    UNLABELLED = "unlabelled"
    RELABELLED = "relabelled"
    """`detail` has the class."""
    FEWER = "fewer"
    """Fewer are held out than before, by `dataset.validation` or `dataset.target`."""


@dataclass(frozen=True, slots=True)
class Left:
    """An image that left the validation side of a class."""

    image: int
    label: str
    reason: Gone
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Stand:
    """How an image stands now. `keeper` is itself, or who stands for its group."""

    state: ImageState
    keeper: int
    keeper_state: ImageState


def left(session: Session, snapshot: Snapshot, classes: Mapping[str, int]) -> list[Left]:
    """Compare a snapshot's validation with the one before it. `classes` has the present classes' ids by name.

    It compares two frozen snapshots, so that a second split, which writes nothing, says the same as the first.
    """
    before = snapshot_before(session, snapshot)
    if before is None:
        return []
    ids, ids_before = class_ids(session, snapshot), class_ids(session, before)
    held = {(item.image_id, ids[item.class_index]) for item in snapshot.items if item.side is Side.VALIDATION}
    gone = [
        (item.image_id, ids_before[item.class_index], before.classes[item.class_index])
        for item in before.items
        if item.side is Side.VALIDATION and (item.image_id, ids_before[item.class_index]) not in held
    ]
    stands = _stands(session, [number for number, _, _ in gone])
    labels = {label.keeper_id: label for label in keeper_labels(session)}
    names = {class_id: name for name, class_id in classes.items()}
    found = []
    for number, class_id, name in gone:
        stand = stands[number]
        if stand.keeper != number and (stand.keeper, class_id) in held and stand.state is not ImageState.FORGOTTEN:
            found.append(Left(number, name, Gone.COPY, str(stand.keeper)))
        else:
            found.append(Left(number, name, *_why(stand, labels, class_id, names)))
    return found


def _why(
    stand: _Stand, labels: Mapping[int, KeeperLabel], was: int | None, names: Mapping[int, str]
) -> tuple[Gone, str]:
    if stand.state is ImageState.FORGOTTEN:
        return Gone.FORGOTTEN, ""
    if stand.keeper_state is not ImageState.STORED:
        return Gone.SET_ASIDE, ""
    if stand.keeper not in labels:
        return Gone.UNLABELLED, ""
    label = labels[stand.keeper]
    if label.conflict:
        return Gone.CONFLICT, ""
    if label.class_id is not None and label.class_id == was:
        return Gone.FEWER, ""
    return Gone.RELABELLED, said(label.class_id, label.other, names) or ""


def _stands(session: Session, numbers: list[int]) -> dict[int, _Stand]:
    """How these images stand. The keeper of a group is looked up by joining its images with it."""
    keeper = aliased(Image)
    mine = (keeper.group_id == Image.group_id) & keeper.is_keeper
    query = select(Image.id, Image.state, keeper.id, keeper.state).outerjoin(keeper, mine)
    found: dict[int, _Stand] = {}
    for batch in chunks(numbers):
        for number, state, keeper_id, keeper_state in session.execute(query.where(Image.id.in_(batch))):
            # Without a group an image stands for itself.
            found[number] = _Stand(state, keeper_id or number, keeper_state or state)
    return found
