"""Labels of one photograph that contradict each other, and that no person has settled."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.labels import keeper_labels, said
from db.models import Annotation, AnnotationOrigin, AnnotationState, Image, ImageState, Label, Other


@dataclass(frozen=True, slots=True)
class Conflict:
    """A keeper left out because what is said of it and its copies differs; image ids by class."""

    keeper: int
    labels: dict[str, list[int]]
    exact: bool
    """One and the same file was labelled differently: its id stands under several classes."""


def conflicts(session: Session, classes: Mapping[str, int]) -> list[Conflict]:
    """List the conflicts that stand, by keeper. `classes` has the classes' ids by name."""
    keepers = [label.keeper_id for label in keeper_labels(session) if label.conflict]
    names = {class_id: name for name, class_id in classes.items()}
    members = _members(session, keepers)
    claims = _claims(session, members)
    found = []
    for keeper in keepers:
        labels: dict[str, list[int]] = defaultdict(list)
        for one in _decisive(claims[keeper]):
            labels[said(one.class_id, one.other, names) or ""].append(one.image_id)
        every = [number for numbers in labels.values() for number in numbers]
        found.append(Conflict(keeper, dict(labels), len(set(every)) < len(every)))
    return found


def _members(session: Session, keepers: Iterable[int]) -> dict[int, int]:
    """Keepers by image id, of all images that their groups have and nobody forgot."""
    keeper_of = {keeper: keeper for keeper in keepers}
    groups: dict[int, int] = {}
    for batch in chunks([*keeper_of]):
        query = select(Image.group_id, Image.id).where(Image.id.in_(batch), Image.group_id.is_not(None))
        groups.update({group_id: number for group_id, number in session.execute(query) if group_id is not None})
    for batch in chunks(groups):
        query = select(Image.group_id, Image.id).where(Image.group_id.in_(batch), Image.state != ImageState.FORGOTTEN)
        keeper_of.update(
            {number: groups[group_id] for group_id, number in session.execute(query) if group_id in groups}
        )
    return keeper_of


@dataclass(frozen=True, slots=True)
class _Claim:
    """That an image is of a class, or of none, and whether a person says so."""

    class_id: int | None
    other: Other | None
    image_id: int
    by_person: bool


def _claims(session: Session, keeper_of: Mapping[int, int]) -> dict[int, list[_Claim]]:
    """What counts for each image, by keeper; where answers for one image differ, all of them."""
    found: dict[int, list[_Claim]] = defaultdict(list)
    mine = (Annotation.image_id == Label.image_id) & (Annotation.state == AnnotationState.ACTIVE)
    # The label itself is the annotation it rests on; a conflict rests on all that are active.
    counts = Label.conflict | (Annotation.id == Label.annotation_id)
    columns = (Annotation.class_id, Annotation.other, Annotation.image_id, Annotation.origin)
    query = select(*columns).join(Label, mine).where(counts, Annotation.origin != AnnotationOrigin.ACCEPTED).distinct()
    for batch in chunks(sorted(keeper_of)):
        rows = session.execute(
            query.where(Label.image_id.in_(batch)).order_by(Annotation.image_id, Annotation.class_id)
        )
        for class_id, other, number, origin in rows:
            by_person = origin is AnnotationOrigin.LABEL_STUDIO
            found[keeper_of[number]].append(_Claim(class_id, other, number, by_person))
    return found


def _decisive(claims: Iterable[_Claim]) -> list[_Claim]:
    """Give what decides: people's answers, and imports only where there is none."""
    every = list(claims)
    return [claim for claim in every if claim.by_person] or every
