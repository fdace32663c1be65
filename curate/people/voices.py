"""What people have answered, by image and person."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVarTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.classes import fates
from db.labels import given_in
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    Annotator,
    Image,
    ImageState,
    LabellingProject,
    Prelabel,
)
from db.policy import Decision

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True, slots=True)
class First:
    """An answer as a person first gave it."""

    person: str
    image_id: int
    state: AnnotationState
    said: Decision
    prelabel: Prelabel
    seconds: float | None
    """That it took, by the page's clock."""
    answered_at: datetime


def heard(session: Session) -> dict[int, dict[str, Decision]]:
    """What people say of each image as it stands, by person; of two answers of one person the later."""
    query = _with_names(select(Annotation.image_id, Annotation.class_id, Annotation.other, *_PERSON)).where(
        Annotation.state == AnnotationState.ACTIVE
    )
    found: dict[int, dict[str, Decision]] = defaultdict(dict)
    rows = session.execute(query.order_by(Annotation.answered_at, Annotation.id))
    for image_id, class_id, other, email, number, server in rows:
        found[image_id][_name(email, number, server)] = (class_id, other)
    return dict(found)


def first_answers(session: Session) -> Iterator[First]:
    """Yield all answers of people as they first gave them, skips too, in the order of time."""
    columns = (
        Annotation.image_id,
        AnnotationRevision.state,
        AnnotationRevision.class_id,
        AnnotationRevision.other,
        AnnotationRevision.prelabel,
        AnnotationRevision.lead_time,
        AnnotationRevision.answered_at,
    )
    revisions = select(*columns, *_PERSON).join(AnnotationRevision, AnnotationRevision.annotation_id == Annotation.id)
    query = _with_names(revisions).where(AnnotationRevision.number == 1)
    rows = session.execute(query.order_by(AnnotationRevision.answered_at, AnnotationRevision.id))
    retired = fates(session)
    for image_id, state, class_id, other, prelabel, seconds, moment, email, number, server in rows:
        person = _name(email, number, server)
        counts_as = class_id if class_id is None else retired.get(class_id, class_id)
        yield First(person, image_id, state, (counts_as, other), prelabel, seconds, moment)


_PERSON = (Annotator.email, Annotation.annotator, LabellingProject.server)


def _with_names(query: Select[*Columns]) -> Select[*Columns]:
    return (
        query.join(Image, Image.id == Annotation.image_id)
        .outerjoin(LabellingProject, given_in(LabellingProject))
        .outerjoin(
            Annotator, (Annotator.server == LabellingProject.server) & (Annotator.number == Annotation.annotator)
        )
        .where(Annotation.origin == AnnotationOrigin.LABEL_STUDIO, Image.state != ImageState.FORGOTTEN)
    )


def _name(email: str | None, number: str, server: str | None) -> str:
    """A person's address, or else the number on the server, which says who it is only together with that."""
    return email or f"{number} on {server}"
