"""From answers to the label that counts.

Every answer, of a person, an import or a run that is taken at its word, becomes an annotation with a history of
revisions. `record` takes answers in; it derives, in the same transaction, the one label an image counts with:

* people outrank imports, and these outrank runs; of several people `db.policy` says whose answer counts;
* imports that name different classes, with no person's answer, are a conflict, and count as no label;
* a skipped or deleted answer counts for nothing, but stays on record;
* so does every answer for an image that was forgotten, and one that names a class that was removed;
* an answer that names a class that was merged into another, or renamed, counts as that one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, cast, delete, literal, select, union_all
from sqlalchemy.orm import Session, aliased

from db.batches import chunks
from db.classes import fates
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    Annotator,
    Image,
    ImageState,
    Label,
    LabellingProject,
    Other,
    Prelabel,
    Review,
)
from db.policy import Voice, decide, policy_in_force


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it stands at its source. `key` makes it the same answer when it is seen again."""

    key: str
    origin: AnnotationOrigin
    image_id: int
    state: AnnotationState
    class_id: int | None
    answered_at: datetime
    other: Other | None = None
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
    counted = counting(session)
    for batch in chunks(answers):
        known = {
            a.key: a for a in session.scalars(select(Annotation).where(Annotation.key.in_([a.key for a in batch])))
        }
        touched: set[int] = set()
        for answer in batch:
            annotation = known.get(answer.key)
            counts = counted(answer)
            if annotation is None:
                known[answer.key] = _create(session, answer, counts)
                created += 1
            elif differs(annotation, counts):
                _revise(annotation, answer, counts)
                updated += 1
            else:
                continue
            touched.add(answer.image_id)
        session.flush()
        settle(session, touched)
    return Recorded(created, updated)


def counting(session: Session) -> Callable[[Answer], Answer]:
    """Give what turns an answer into what it counts as, where the class that it names is none any more."""
    retired = fates(session)

    def counted(answer: Answer) -> Answer:
        if answer.class_id is None or answer.class_id not in retired:
            return answer
        class_id = retired[answer.class_id]
        if class_id is not None:
            return replace(answer, class_id=class_id)
        return replace(answer, state=AnnotationState.DROPPED) if answer.state is AnnotationState.ACTIVE else answer

    return counted


def _create(session: Session, answer: Answer, counts: Answer) -> Annotation:
    annotation = Annotation(
        key=answer.key,
        origin=answer.origin,
        image_id=answer.image_id,
        task_id=answer.task_id,
        state=counts.state,
        class_id=counts.class_id,
        other=answer.other,
        annotator=answer.annotator,
        answered_at=answer.answered_at,
        revisions=[_revision(answer, 1)],
    )
    session.add(annotation)
    return annotation


def _revise(annotation: Annotation, answer: Answer, counts: Answer) -> None:
    annotation.state = counts.state
    annotation.class_id = counts.class_id
    annotation.other = answer.other
    annotation.annotator = answer.annotator
    annotation.answered_at = answer.answered_at
    annotation.revisions.append(_revision(answer, len(annotation.revisions) + 1))


def _revision(answer: Answer, number: int) -> AnnotationRevision:
    return AnnotationRevision(
        number=number,
        state=answer.state,
        class_id=answer.class_id,
        other=answer.other,
        annotator=answer.annotator,
        prelabel=answer.prelabel,
        lead_time=answer.lead_time,
        answered_at=answer.answered_at,
        answer=answer.raw,
    )


def differs(annotation: Annotation, answer: Answer) -> bool:
    """Whether an answer, as it counts, is other than it stands on record."""
    if answer.origin is AnnotationOrigin.LABEL_STUDIO and answer.answered_at < annotation.answered_at:
        return False  # a server that was put back from a backup says what was said before
    if (annotation.state, annotation.class_id, annotation.other) != (answer.state, answer.class_id, answer.other):
        return True
    # An import has no clock of its own: importing the same folder again is not a newer answer.
    return answer.origin is not AnnotationOrigin.IMPORT and annotation.answered_at != answer.answered_at


def settle(session: Session, image_ids: Iterable[int]) -> None:
    """Derive anew the labels of these images from their annotations."""
    policy = policy_in_force(session)
    for ids in chunks(sorted(image_ids)):
        voices = _voices(session, ids)
        reviews = {r.image_id: r for r in session.scalars(select(Review).where(Review.image_id.in_(ids)))}
        session.execute(delete(Label).where(Label.image_id.in_(ids)))
        for image_id, heard in voices.items():
            review = reviews.get(image_id)
            asked_after = review.known_until if review and review.reason.decides else None
            session.add(decide(image_id, heard, policy, asked_after))
        for review in reviews.values():
            review.done_at = _decided_at(voices.get(review.image_id, []), review)
        session.flush()


def _decided_at(voices: Iterable[Voice], review: Review) -> datetime | None:
    """When a person answered who was asked to."""
    people = [v.annotation.answered_at for v in voices if v.annotation.origin is AnnotationOrigin.LABEL_STUDIO]
    return max((moment for moment in people if moment > review.known_until), default=None)


def _voices(session: Session, ids: Iterable[int]) -> dict[int, list[Voice]]:
    """Active answers of images that nobody forgot, with who gave them."""
    query = (
        select(Annotation, LabellingProject.server, Annotator.email)
        .join(Image, Image.id == Annotation.image_id)
        .outerjoin(LabellingProject, given_in(LabellingProject))
        .outerjoin(
            Annotator, (Annotator.server == LabellingProject.server) & (Annotator.number == Annotation.annotator)
        )
        .where(Annotation.image_id.in_(ids), Annotation.state == AnnotationState.ACTIVE)
        .where(Image.state != ImageState.FORGOTTEN)
    )
    found: dict[int, list[Voice]] = defaultdict(list)
    for annotation, server, email in session.execute(query):
        found[annotation.image_id].append(Voice(annotation, f"{server} {annotation.annotator}", email or ""))
    return found


def given_in(project: type[LabellingProject]) -> ColumnElement[bool]:
    """Condition that an answer was given in a Label Studio project.

    By its key, not by its task: of an answer that a restored server lacks there is none, and who gave it still counts.
    """
    return Annotation.key.startswith(literal("label_studio:") + cast(project.id, String) + ":")


def said(class_id: int | None, other: Other | None, names: Mapping[int, str]) -> str | None:
    """Tell in words what an answer or a label says, by the classes' names; None where it says nothing."""
    if class_id is not None:
        return names[class_id]
    return None if other is None else other.caption


@dataclass(frozen=True, slots=True)
class KeeperLabel:
    """The label a keeper counts with, its own or a group member's: a class, or what else was said of it."""

    keeper_id: int
    class_id: int | None
    other: Other | None = None

    @property
    def conflict(self) -> bool:
        """Its group disagrees, or its answers do."""
        return self.class_id is None and self.other is None


_BEFORE = (AnnotationOrigin.LABEL_STUDIO, AnnotationOrigin.IMPORT)
"""Origins whose word comes before a run's, in this order."""


def keeper_labels(session: Session) -> list[KeeperLabel]:
    """Labels of all keepers that have one, or whose duplicates have; ordered by keeper.

    Within a group, too, people outrank imports: labelling the keeper settles a group whose imports disagree. What was
    accepted unseen is left out where the policy says that it does not count.
    """
    ranks = [*_BEFORE, *([AnnotationOrigin.ACCEPTED] if policy_in_force(session).accepted_count else [])]
    found: dict[int, dict[AnnotationOrigin, set[tuple[int | None, Other | None]]]] = {}
    for keeper_id, class_id, other, origin in session.execute(_labels_by_keeper()):
        found.setdefault(keeper_id, {}).setdefault(origin, set()).add((class_id, other))
    labels = []
    for keeper_id, said in sorted(found.items()):
        decisive = next((said[origin] for origin in ranks if origin in said), None)
        if decisive is not None:
            class_id, other = next(iter(decisive)) if len(decisive) == 1 else (None, None)
            labels.append(KeeperLabel(keeper_id, class_id, other))
    return labels


def accepted_keepers(session: Session) -> dict[int, int]:
    """Give the keepers that have a run's answer, accepted unseen, for their only label, and its class's id."""
    query = select(Label.image_id, Label.class_id).join(Image, Image.id == Label.image_id)
    mine = (Label.origin == AnnotationOrigin.ACCEPTED) & Image.is_keeper & (Image.state == ImageState.STORED)
    people = {number for number, _, _, origin in session.execute(_labels_by_keeper()) if origin in _BEFORE}
    rows = session.execute(query.where(mine, Label.class_id.is_not(None)))
    return {number: class_id for number, class_id in rows if class_id is not None and number not in people}


def _labels_by_keeper() -> Select[int, int | None, Other | None, AnnotationOrigin]:
    keeper, member = aliased(Image), aliased(Image)
    columns = (keeper.id, Label.class_id, Label.other, Label.origin)
    own = select(*columns).join(Label, Label.image_id == keeper.id).where(keeper.is_keeper)
    lent = (
        select(*columns)
        .join(member, member.group_id == keeper.group_id)
        .join(Label, Label.image_id == member.id)
        .where(keeper.is_keeper, member.is_keeper.is_(False), member.state != ImageState.FORGOTTEN)
    )
    stored = keeper.state == ImageState.STORED
    either = union_all(own.where(stored), lent.where(stored)).subquery()
    return select(either.c[0], either.c[1], either.c[2], either.c[3])
