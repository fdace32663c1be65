"""Asking people to look at images: to decide them, or to check what was accepted unseen."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.models import Annotation, AnnotationOrigin, Review, ReviewReason

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def ask(
    session: Session, image_ids: Iterable[int], reason: ReviewReason, details: Mapping[int, str] = MappingProxyType({})
) -> int:
    """Ask for a decision on images, those aside that wait for one already; give how many were asked for now.

    `details` has what is to be told of some of them, by image.
    """
    asked = 0
    by_people = Annotation.origin == AnnotationOrigin.LABEL_STUDIO
    latest = select(Annotation.image_id, func.max(Annotation.answered_at)).where(by_people)
    for ids in chunks(image_ids):
        rows = session.execute(latest.where(Annotation.image_id.in_(ids)).group_by(Annotation.image_id)).all()
        last = {row[0]: row[1] for row in rows}
        known = {r.image_id: r for r in session.scalars(select(Review).where(Review.image_id.in_(ids)))}
        for image_id in ids:
            if image_id in known and known[image_id].done_at is None:
                continue
            detail, known_until = details.get(image_id, ""), last.get(image_id, _NEVER)
            session.merge(
                Review(image_id=image_id, reason=reason, detail=detail, known_until=known_until, done_at=None)
            )
            asked += 1
    session.flush()
    return asked


def decided(session: Session) -> set[int]:
    """Images that somebody has decided, since being asked to: no rule and nobody's earlier word counts for them."""
    deciding = [reason for reason in ReviewReason if reason.decides]
    query = select(Review.image_id).where(Review.done_at.is_not(None), Review.reason.in_(deciding))
    return set(session.scalars(query))


def waiting(session: Session) -> dict[int, ReviewReason]:
    """Images that wait for a decision, and why."""
    query = select(Review.image_id, Review.reason).where(Review.done_at.is_(None)).order_by(Review.image_id)
    return {row[0]: row[1] for row in session.execute(query)}


def told(session: Session) -> dict[int, str]:
    """What was found of images that wait for a decision, where that was said."""
    query = select(Review.image_id, Review.detail).where(Review.done_at.is_(None), Review.detail != "")
    return {row[0]: row[1] for row in session.execute(query)}
