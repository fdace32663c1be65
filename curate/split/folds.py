"""Folds of what is learned from, so that every training image can be predicted by a run that has not seen it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from curate.split.choose import Keeper
from curate.split.freeze import latest_snapshot
from curate.split.keepers import with_copies
from db.errors import DatasetError
from db.models import Side


@dataclass(frozen=True, slots=True)
class Folded:
    """One image of the train side, and its fold, which counts from 0."""

    id: int
    sha256: str
    label: str
    fold: int


def folds(session: Session, count: int, seed: int) -> list[Folded]:
    """Deal the train side of the present split into `count` folds; in the order of the images' hashes.

    Keepers alone are in a split, so no copies lie in two folds. Validation is left out: no run has learned from it.
    Raises DatasetError without a split, and where there are fewer images than folds.
    """
    snapshot = latest_snapshot(session)
    if snapshot is None:
        raise DatasetError("there is no split to deal into folds yet; make one with `curate split`")
    index_of = {item.image_id: item.class_index for item in snapshot.items if item.side is Side.TRAIN}
    if not 2 <= count <= len(index_of):  # noqa: PLR2004 - one fold leaves nothing to learn from
        raise DatasetError(f"{count} folds of {len(index_of)} images to learn from; from 2 to {len(index_of)} can be")
    by_class: dict[int, list[Keeper]] = defaultdict(list)
    for keeper, _ in with_copies(session, index_of):
        by_class[index_of[keeper.image_id]].append(keeper)
    found = [
        Folded(keeper.image_id, keeper.hashes[0], snapshot.classes[index], fold)
        for index, keepers in by_class.items()
        for keeper, fold in deal(keepers, count, seed)
    ]
    return sorted(found, key=lambda one: one.sha256)


def deal(keepers: Sequence[Keeper], count: int, seed: int) -> list[tuple[Keeper, int]]:
    """Deal the keepers of one class: folds differ by one image at most, over all and of every source.

    Each image goes to the fold that its hash likes best and that has room (rendezvous hashing: Thaler and Ravishankar,
    "Using name-based mappings to increase hit rates", 1998), so that what is added moves few others. Dealing in turn
    would be as even, and one more image would move half of them.
    """
    by_source: dict[str, list[Keeper]] = defaultdict(list)
    for keeper in keepers:
        by_source[keeper.source].append(keeper)
    dealt: list[tuple[Keeper, int]] = []
    extra = 0
    for _, mine in sorted(by_source.items()):
        each, more = divmod(len(mine), count)
        room = [each] * count
        # Folds take the odd images of the sources in turn: so they stay even over all sources.
        for _ in range(more):
            room[extra % count] += 1
            extra += 1
        dealt += _deal_source(mine, room, seed)
    return dealt


def _deal_source(keepers: Iterable[Keeper], room: list[int], seed: int) -> list[tuple[Keeper, int]]:
    dealt = []
    for position, keeper in sorted(((keeper.position(seed), keeper) for keeper in keepers), key=lambda pair: pair[0]):
        fold = max((fold for fold, free in enumerate(room) if free), key=lambda fold: _liking(position, fold))
        room[fold] -= 1
        dealt.append((keeper, fold))
    return dealt


def _liking(position: str, fold: int) -> str:
    return hashlib.sha256(f"{position}:{fold}".encode()).hexdigest()
