"""From answers to the label that counts.

Every answer, of a person or of an import, becomes an annotation with a history of revisions. `record` takes answers
in; it derives, in the same transaction, the one label an image counts with:

* people outrank imports; of several people the latest answer counts;
* imports that name different classes, with no person's answer, are a conflict, and count as no label;
* a skipped or deleted answer counts for nothing, but stays on record;
* so does every answer for an image that was forgotten.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, select, union_all
from sqlalchemy.orm import Session, aliased

from db.batches import chunks
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    Image,
    ImageState,
    Label,
    Prelabel,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it stands at its source. `key` makes it the same answer when it is seen again."""

    key: str
    origin: AnnotationOrigin
    image_id: int
    state: AnnotationState
    class_id: int | None
    answered_at: datetime
    task_id: int | None = None
    annotator: str = ""
    prelabel: Prelabel = Prelabel.NONE
    lead_time: float | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record` changed."""

    created: int
    updated: int


def record(session: Session, answers: Iterable[Answer]) -> Recorded:
    """Take answers in, each change as a new revision, and settle the labels of their images."""
    created = updated = 0
    for batch in chunks(answers):
        known = {
            a.key: a for a in session.scalars(select(Annotation).where(Annotation.key.in_([a.key for a in batch])))
        }
        touched: set[int] = set()
        for answer in batch:
            annotation = known.get(answer.key)
            if annotation is None:
                known[answer.key] = _create(session, answer)
                created += 1
            elif differs(annotation, answer):
                _revise(annotation, answer)
                updated += 1
            else:
                continue
            touched.add(answer.image_id)
        session.flush()
        settle(session, touched)
    return Recorded(created, updated)


def _create(session: Session, answer: Answer) -> Annotation:
    annotation = Annotation(
        key=answer.key,
        origin=answer.origin,
        image_id=answer.image_id,
        task_id=answer.task_id,
        state=answer.state,
        class_id=answer.class_id,
        annotator=answer.annotator,
        answered_at=answer.answered_at,
        revisions=[_revision(answer, 1)],
    )
    session.add(annotation)
    return annotation


def _revise(annotation: Annotation, answer: Answer) -> None:
    annotation.state = answer.state
    annotation.class_id = answer.class_id
    annotation.annotator = answer.annotator
    annotation.answered_at = answer.answered_at
    annotation.revisions.append(_revision(answer, len(annotation.revisions) + 1))


def _revision(answer: Answer, number: int) -> AnnotationRevision:
    return AnnotationRevision(
        number=number,
        state=answer.state,
        class_id=answer.class_id,
        annotator=answer.annotator,
        prelabel=answer.prelabel,
        lead_time=answer.lead_time,
        answered_at=answer.answered_at,
        answer=answer.raw,
    )


def differs(annotation: Annotation, answer: Answer) -> bool:
    """Whether an answer is other than it stands on record."""
    if (annotation.state, annotation.class_id) != (answer.state, answer.class_id):
        return True
    # An import has no clock of its own: importing the same folder again is not a newer answer.
    return answer.origin is not AnnotationOrigin.IMPORT and annotation.answered_at != answer.answered_at


def settle(session: Session, image_ids: Iterable[int]) -> None:
    """Derive anew the labels of these images from their annotations."""
    for ids in chunks(sorted(image_ids)):
        active: dict[int, list[Annotation]] = {}
        query = select(Annotation).where(Annotation.image_id.in_(ids), Annotation.state == AnnotationState.ACTIVE)
        remembered = Image.state != ImageState.FORGOTTEN
        for annotation in session.scalars(query.join(Image, Image.id == Annotation.image_id).where(remembered)):
            active.setdefault(annotation.image_id, []).append(annotation)
        session.execute(delete(Label).where(Label.image_id.in_(ids)))
        session.add_all(_decide(image_id, annotations) for image_id, annotations in active.items())
        session.flush()


def _decide(image_id: int, annotations: Sequence[Annotation]) -> Label:
    people = [a for a in annotations if a.origin is not AnnotationOrigin.IMPORT]
    conflict = not people and len({a.class_id for a in annotations}) > 1
    latest = max(people or annotations, key=lambda a: (a.answered_at, a.id))
    return Label(
        image_id=image_id,
        class_id=None if conflict else latest.class_id,
        conflict=conflict,
        origin=latest.origin,
        annotation_id=latest.id,
        decided_at=latest.answered_at,
    )


@dataclass(frozen=True, slots=True)
class KeeperLabel:
    """The label a keeper counts with, its own or a group member's. No class: its group disagrees."""

    keeper_id: int
    class_id: int | None


def keeper_labels(session: Session) -> list[KeeperLabel]:
    """Labels of all keepers that have one, or whose duplicates have; ordered by keeper.

    Within a group, too, people outrank imports: labelling the keeper settles a group whose imports disagree.
    """
    found: dict[int, dict[bool, set[int | None]]] = {}
    for keeper_id, class_id, origin in session.execute(_labels_by_keeper()):
        by_person = origin is not AnnotationOrigin.IMPORT
        found.setdefault(keeper_id, {}).setdefault(by_person, set()).add(class_id)
    decisive = {keeper_id: sets.get(True) or sets[False] for keeper_id, sets in sorted(found.items())}
    return [KeeperLabel(k, next(iter(classes)) if len(classes) == 1 else None) for k, classes in decisive.items()]


def _labels_by_keeper() -> Select[int, int | None, AnnotationOrigin]:
    keeper, member = aliased(Image), aliased(Image)
    columns = (keeper.id, Label.class_id, Label.origin)
    own = select(*columns).join(Label, Label.image_id == keeper.id).where(keeper.is_keeper)
    lent = (
        select(*columns)
        .join(member, member.group_id == keeper.group_id)
        .join(Label, Label.image_id == member.id)
        .where(keeper.is_keeper, member.is_keeper.is_(False), member.state != ImageState.FORGOTTEN)
    )
    stored = keeper.state == ImageState.STORED
    either = union_all(own.where(stored), lent.where(stored)).subquery()
    return select(either.c[0], either.c[1], either.c[2])
