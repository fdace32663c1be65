"""Which answer decides a finding, and what people have decided of it already."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from db import reviews
from db.batches import chunks
from db.models import AnnotationOrigin, Image, ImageState, Label


@dataclass(frozen=True)
class Decisions:
    """How some keepers stand with people."""

    images: Mapping[int, tuple[int, ...]]
    """By keeper, the images to ask about: those of its group that people have answered, or else itself."""
    settled: frozenset[int]
    """Keepers of which somebody has decided since being asked to: what the audit thinks of them is answered."""
    waiting: frozenset[int]
    """Keepers of which somebody is asked already."""


def decisions(session: Session, keepers: Sequence[int]) -> Decisions:
    """Look up how keepers stand.

    An answer for the keeper outranks what imports say of its copies, but not what people say of them: these are to be
    asked about themselves.
    """
    answered = _answered(session, keepers)
    images = {keeper: tuple(sorted(answered.get(keeper, {keeper}))) for keeper in keepers}
    decided, waiting = reviews.decided(session), reviews.waiting(session)
    return Decisions(
        images,
        frozenset(keeper for keeper, mine in images.items() if decided.issuperset(mine)),
        frozenset(keeper for keeper, mine in images.items() if any(image in waiting for image in mine)),
    )


def _answered(session: Session, keepers: Iterable[int]) -> dict[int, set[int]]:
    """Images of each keeper's group, itself among them, whose label is a person's."""
    keeper, member = aliased(Image), aliased(Image)
    same = or_(member.id == keeper.id, member.group_id == keeper.group_id)
    query = (
        select(keeper.id, member.id)
        .join(member, same)
        .join(Label, Label.image_id == member.id)
        .where(Label.origin == AnnotationOrigin.LABEL_STUDIO, member.state != ImageState.FORGOTTEN)
    )
    found: dict[int, set[int]] = defaultdict(set)
    for batch in chunks(keepers):
        for number, image in session.execute(query.where(keeper.id.in_(batch))):
            found[number].add(image)
    return found
