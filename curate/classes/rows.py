"""A change of the classes in the database, within the one transaction that decides it.

Answers keep what they said: see `db.classes`. What follows is what they count as, the labels derived from them, and the
guesses of crawls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, aliased

from curate.classes.change import Change
from curate.config import class_key
from db.classes import fates
from db.errors import DatasetError
from db.labels import settle
from db.models import (
    Annotation,
    AnnotationRevision,
    AnnotationState,
    Candidate,
    ChangeKind,
    Class,
    Image,
    LabellingProject,
    Run,
    Search,
    Sighting,
    Snapshot,
)
from db.models.base import now


@dataclass(frozen=True, slots=True)
class Followed:
    """How many answers count as another class from now on, how many for nothing, and the images that they are of."""

    moved: int = 0
    dropped: int = 0
    images: frozenset[int] = frozenset()


def follow(session: Session, change: Change, *, drop_labels: bool) -> Followed:
    """Make the rows follow a change, and settle the labels. Raises DatasetError for what they do not allow."""
    present = {row.key: row for row in session.scalars(select(Class).where(Class.retired_at.is_(None)))}
    rows = [present[class_key(name)] for name in change.names if class_key(name) in present]
    if change.kind is ChangeKind.ADD:
        images = [image for name in change.names for image in add(session, name)]
        done = Followed(moved=len(images), images=frozenset(images))
    elif change.kind is ChangeKind.RENAME:
        _rename(session, rows[0], change.into)
        done = Followed()
    elif change.kind is ChangeKind.MERGE:
        images = [image for row in rows for image in _merge(session, row, present[class_key(change.into)])]
        done = Followed(moved=len(images), images=frozenset(images))
    else:
        _refuse_labels(session, rows, drop_labels=drop_labels)
        images = [image for row in rows for image in _remove(session, row)]
        done = Followed(dropped=len(images), images=frozenset(images))
    settle(session, done.images)
    _sort(session, change.after([row.name for row in sorted(present.values(), key=lambda row: row.position)]))
    return done


def take_name(session: Session, name: str, owner: Class | None) -> Class | None:
    """Free a name for a class, or for the one that is `owner`; give the class that had it itself, if that is retired.

    Raises DatasetError where something made under the name's former meaning may still be read.
    """
    counts = fates(session)
    query = select(Class).where(Class.key == class_key(name), Class.retired_at.is_not(None))
    for row in session.scalars(query.order_by(Class.retired_at.desc(), Class.id.desc())).all():
        if owner is not None and counts[row.id] == owner.id:
            continue
        if not row.renamed:
            if owner is None:
                return row
            raise DatasetError(
                f"{row.name!r} was {_became(session, row)}, and answers on record say it; bring it back with"
                f" `curate classes add`, or choose another name"
            )
        if _said_since(session, row):
            raise DatasetError(
                f"{row.name!r} is the former name of {_became(session, row)}, and answers in Label Studio, splits or"
                " runs still say it; choose another name"
            )
        session.delete(row)
    session.flush()
    return None


def _became(session: Session, row: Class) -> str:
    into = None if row.merged_into_id is None else session.get_one(Class, row.merged_into_id).name
    if row.renamed:
        return repr(into)
    return "removed" if into is None else f"merged into {into!r}"


def _said_since(session: Session, row: Class) -> bool:
    """Whether anything was made while this was a class's name that may say it still."""
    for table in (Snapshot, Run):
        for names in session.scalars(select(table.classes)):
            if row.key in map(class_key, names):
                return True
    said = select(AnnotationRevision.id).where(AnnotationRevision.class_id == row.id).limit(1)
    asked = select(LabellingProject.id).where(LabellingProject.created_at < (row.retired_at or now())).limit(1)
    return session.scalar(said) is not None or session.scalar(asked) is not None


def add(session: Session, name: str) -> list[int]:
    """Make a class, or bring back one that was merged or removed; give the images of answers that count as it again.

    Their labels are left to be settled. Raises DatasetError as `take_name` does.
    """
    position = (session.scalar(select(func.max(Class.position))) or 0) + 1
    row = take_name(session, name, None)
    if row is None:
        session.add(Class(name=name, key=class_key(name), position=position))
        session.flush()
        return []
    row.name, row.position, row.retired_at, row.merged_into_id = name, position, None, None
    session.flush()
    return _revive(session, row)


def _revive(session: Session, row: Class) -> list[int]:
    """Let answers count as a class that is back: those that said it, or what had been merged into it before."""
    mine = [row.id, *(old for old, fate in fates(session).items() if fate == row.id)]
    later = aliased(AnnotationRevision)
    query = (
        select(Annotation)
        .join(AnnotationRevision, AnnotationRevision.annotation_id == Annotation.id)
        .outerjoin(later, (later.annotation_id == Annotation.id) & (later.number > AnnotationRevision.number))
        .where(
            later.id.is_(None),  # what was said last
            AnnotationRevision.class_id.in_(mine),
            Annotation.state.in_([AnnotationState.ACTIVE, AnnotationState.DROPPED]),
        )
    )
    back = session.scalars(query).all()
    for annotation in back:
        annotation.class_id, annotation.state = row.id, AnnotationState.ACTIVE
    session.flush()
    return [annotation.image_id for annotation in back]


def _rename(session: Session, row: Class, name: str) -> None:
    take_name(session, name, row)
    old, row.name, row.key = (row.name, row.key), name, class_key(name)
    session.flush()
    retired = Class.retired_at.is_not(None) & (Class.merged_into_id == row.id) & Class.renamed
    session.execute(delete(Class).where(retired, Class.key == row.key, Class.id.not_in(_said(session))))
    if row.key == old[1]:  # in another case alone: names are looked up without it
        return
    # What is on its way under the old name, or comes from a page that was open, is understood by it.
    session.add(
        Class(name=old[0], key=old[1], position=row.position, retired_at=now(), merged_into_id=row.id, renamed=True)
    )


def _said(session: Session) -> list[int]:
    query = select(AnnotationRevision.class_id).where(AnnotationRevision.class_id.is_not(None)).distinct()
    return [class_id for class_id in session.scalars(query) if class_id is not None]


def _merge(session: Session, row: Class, into: Class) -> list[int]:
    images = _images(session, row)
    session.execute(update(Annotation).where(Annotation.class_id == row.id).values(class_id=into.id))
    for table, column in (
        (Image, Image.collected_for_id),
        (Candidate, Candidate.collected_for_id),
        (Sighting, Sighting.class_id),
    ):
        session.execute(update(table).where(column == row.id).values({column: into.id}))
    for target in (Candidate, Search):  # a crawl goes on for the class that is left
        old, new = f"class:{row.id}", f"class:{into.id}"
        session.execute(update(target).where(target.target == old).values(target=new))
    row.retired_at, row.merged_into_id = now(), into.id
    session.flush()
    return images


def _refuse_labels(session: Session, rows: Sequence[Class], *, drop_labels: bool) -> None:
    query = select(func.count()).where(
        Annotation.class_id.in_([row.id for row in rows]), Annotation.state == AnnotationState.ACTIVE
    )
    labels = session.scalar(query) or 0
    if labels and not drop_labels:
        names = ", ".join(repr(row.name) for row in rows)
        raise DatasetError(
            f"{labels} answers say {names}; say what becomes of their images: `--labels drop` puts them back into the"
            " queue and keeps the answers on record, `curate classes merge` gives them another class"
        )


def _remove(session: Session, row: Class) -> list[int]:
    images = _images(session, row)
    active = (Annotation.class_id == row.id) & (Annotation.state == AnnotationState.ACTIVE)
    session.execute(update(Annotation).where(active).values(state=AnnotationState.DROPPED))
    for table in (Image, Candidate):  # a sighting stays: it says what was searched for then
        session.execute(update(table).where(table.collected_for_id == row.id).values(collected_for_id=None))
    row.retired_at = now()
    session.flush()
    return images


def _images(session: Session, row: Class) -> list[int]:
    """Image of each answer that counts as a class."""
    active = (Annotation.class_id == row.id) & (Annotation.state == AnnotationState.ACTIVE)
    return list(session.scalars(select(Annotation.image_id).where(active)))


def _sort(session: Session, names: Sequence[str]) -> None:
    """Give the present classes their places."""
    place = {class_key(name): position for position, name in enumerate(names)}
    for row in session.scalars(select(Class).where(Class.retired_at.is_(None))):
        row.position = place[row.key]
    session.flush()
