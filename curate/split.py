"""`curate split`: which labelled images a run learns from, and which it is measured on.

The unit is the duplicate group, through its keeper, so copies cannot lie on both sides. An image that was held out once
is never learned from later, in whatever round: results of rounds stay comparable, and no label leaks.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.config import DatasetSettings
from curate.project import Project
from db.batches import chunks
from db.errors import DatasetError
from db.labels import keeper_labels
from db.models import Annotation, AnnotationState, Image, ImageState, Side, Snapshot, SnapshotItem

_NAMED = 3
"""Images that one line names."""


@dataclass(frozen=True, slots=True)
class ClassSplit:
    """Images of one class: in the snapshot, left over beyond the target, and lacking."""

    train: int
    validation: int
    reserve: int
    missing: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A keeper left out because what is said of it and its copies differs; image ids by class."""

    keeper: int
    labels: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The snapshot that stands now."""

    snapshot: int
    content_sha256: str
    classes: dict[str, ClassSplit]
    conflicts: list[Conflict]

    @property
    def short(self) -> list[str]:
        """Classes that lack images."""
        return [name for name, counts in self.classes.items() if counts.missing]


@dataclass(slots=True)
class _Keeper:
    """A labelled keeper, as far as splitting asks."""

    image_id: int
    hashes: list[str] = field(default_factory=list)
    """SHA-256 of every image of its group."""
    held_out: bool = False

    def position(self, seed: int) -> str:
        """Place in a fixed order that looks random. The least over its copies, so that joining groups moves little."""
        return min(hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest() for sha256 in self.hashes)


def split(project: Project, *, strict: bool = False) -> SplitReport:
    """Freeze a snapshot of the present labels, or find that the latest one still says the same.

    Raises DatasetError when nothing is labelled, and with `strict` when a class is short: then nothing is written.
    """
    settings = project.settings.dataset
    with project.database.write() as session:
        classes = project.classes(session)
        keepers, conflicting = _labelled(session)
        if not keepers:
            raise DatasetError(
                "nothing is labelled yet; label in Label Studio and `curate label pull`, or import labels"
            )
        sides: dict[int, tuple[int, Side]] = {}
        counts: dict[str, ClassSplit] = {}
        for index, (name, class_id) in enumerate(classes.items()):
            train, validation, counts[name] = split_class(keepers.get(class_id, []), settings)
            sides.update({keeper.image_id: (index, Side.TRAIN) for keeper in train})
            sides.update({keeper.image_id: (index, Side.VALIDATION) for keeper in validation})
        if strict and any(c.missing for c in counts.values()):
            short = ", ".join(f"{name} {c.missing}" for name, c in counts.items() if c.missing)
            raise DatasetError(f"classes are short of {settings.target} labelled images ({short}); nothing was written")
        snapshot = _freeze(session, list(classes), sides, settings)
        return SplitReport(snapshot.id, snapshot.content_sha256, counts, _conflicts(session, conflicting, classes))


def split_class(
    keepers: Sequence[_Keeper], settings: DatasetSettings
) -> tuple[list[_Keeper], list[_Keeper], ClassSplit]:
    """Choose train and validation among the keepers of one class; a short class gives the same proportion of each."""
    taken = min(len(keepers), settings.target)
    wanted = round(taken * settings.validation / settings.target)
    wanted = min(max(wanted, 1), taken - 1) if taken > 1 else 0
    ordered = sorted(keepers, key=lambda keeper: keeper.position(settings.seed))
    held_out = [keeper for keeper in ordered if keeper.held_out]
    rest = [keeper for keeper in ordered if not keeper.held_out]
    more = max(0, wanted - len(held_out))
    validation = held_out[:wanted] + rest[:more]
    train = rest[more : more + taken - wanted]
    used = len(train) + len(validation)
    return train, validation, ClassSplit(len(train), len(validation), len(keepers) - used, settings.target - used)


def _labelled(session: Session) -> tuple[dict[int, list[_Keeper]], list[int]]:
    """Labelled keepers by class id, and the keepers whose label is in conflict."""
    by_class: dict[int, list[_Keeper]] = defaultdict(list)
    keepers: dict[int, _Keeper] = {}
    conflicting = []
    for label in keeper_labels(session):
        if label.class_id is None:
            conflicting.append(label.keeper_id)
        else:
            keepers[label.keeper_id] = _Keeper(label.keeper_id)
            by_class[label.class_id].append(keepers[label.keeper_id])
    _learn_copies(session, keepers)
    return by_class, conflicting


def _learn_copies(session: Session, keepers: dict[int, _Keeper]) -> None:
    """Note the hashes of each keeper's group, and whether any image of it was ever held out."""
    held_out = set(
        session.scalars(select(SnapshotItem.image_id).where(SnapshotItem.side == Side.VALIDATION).distinct())
    )
    keeper_of_group: dict[int, _Keeper] = {}
    for ids in chunks(keepers):
        rows = session.execute(select(Image.id, Image.sha256, Image.group_id).where(Image.id.in_(ids)))
        for image_id, sha256, group_id in rows:
            keepers[image_id].hashes.append(sha256)
            keepers[image_id].held_out = image_id in held_out
            if group_id is not None:
                keeper_of_group[group_id] = keepers[image_id]
    for group_ids in chunks(keeper_of_group):
        query = select(Image.id, Image.sha256, Image.group_id).where(Image.group_id.in_(group_ids))
        for image_id, sha256, group_id in session.execute(query.where(Image.is_keeper.is_(False))):
            keeper = keeper_of_group[group_id]  # type: ignore[index]  # not null by the query
            keeper.hashes.append(sha256)
            keeper.held_out |= image_id in held_out


def _freeze(
    session: Session, classes: list[str], sides: dict[int, tuple[int, Side]], settings: DatasetSettings
) -> Snapshot:
    content = _content_hash(session, classes, sides)
    latest = latest_snapshot(session)
    if latest is not None and latest.content_sha256 == content:
        return latest
    snapshot = Snapshot(
        content_sha256=content,
        seed=settings.seed,
        target=settings.target,
        validation=settings.validation,
        classes=classes,
        items=[SnapshotItem(image_id=i, class_index=index, side=side) for i, (index, side) in sides.items()],
    )
    session.add(snapshot)
    session.flush()
    return snapshot


def _content_hash(session: Session, classes: list[str], sides: dict[int, tuple[int, Side]]) -> str:
    """Hash what the snapshot says, by content alone: two databases with the same images and labels agree."""
    lines = []
    for ids in chunks(sides):
        for image_id, sha256 in session.execute(select(Image.id, Image.sha256).where(Image.id.in_(ids))):
            index, side = sides[image_id]
            lines.append(f"{sha256}\t{side.value}\t{classes[index]}")
    return hashlib.sha256("\n".join([*classes, "", *sorted(lines)]).encode()).hexdigest()


def latest_snapshot(session: Session) -> Snapshot | None:
    """The present split."""
    return session.scalars(select(Snapshot).order_by(Snapshot.id.desc()).limit(1)).first()


def refuse_forgotten(session: Session, snapshot_id: int) -> None:
    """Raise DatasetError, naming them, when images of a frozen snapshot were forgotten since."""
    mine = (SnapshotItem.snapshot_id == snapshot_id) & (Image.state == ImageState.FORGOTTEN)
    query = select(Image.id).join(SnapshotItem, SnapshotItem.image_id == Image.id).where(mine).order_by(Image.id)
    gone = session.scalars(query).all()
    if gone:
        named = ", ".join(map(str, gone[:_NAMED])) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
        raise DatasetError(
            f"split {snapshot_id} has images that were forgotten ({named}); make a new one with `curate split`"
        )


def _conflicts(session: Session, keepers: Iterable[int], classes: dict[str, int]) -> list[Conflict]:
    names = {class_id: name for name, class_id in classes.items()}
    found = []
    for keeper_id in keepers:
        group_id = session.scalar(select(Image.group_id).where(Image.id == keeper_id))
        mine = Image.id == keeper_id if group_id is None else Image.group_id == group_id
        query = (
            select(Annotation.class_id, Annotation.image_id)
            .join(Image, Image.id == Annotation.image_id)
            .where(mine, Annotation.state == AnnotationState.ACTIVE)
            .distinct()
            .order_by(Annotation.image_id)
        )
        labels: dict[str, list[int]] = {}
        for class_id, image_id in session.execute(query):
            if class_id is not None:
                labels.setdefault(names[class_id], []).append(image_id)
        found.append(Conflict(keeper_id, labels))
    return found
