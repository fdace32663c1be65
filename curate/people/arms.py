"""What the strategy of the queue brings: answers for what it chose, beside those for what was drawn at random.

Only the random arm tells how good a model is on the whole collection: what a strategy chooses is harder than most, and
the validation side comes from what was labelled.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.config import class_key
from curate.people.voices import First
from curate.share import Share
from db.classes import ids_now
from db.models import (
    AnnotationOrigin,
    AnnotationState,
    Label,
    LabellingTask,
    Prediction,
    Prelabel,
    Run,
    SnapshotItem,
    TaskState,
)


@dataclass(frozen=True, slots=True)
class Arm:
    """Images of one arm that people have answered."""

    answered: int
    accepted: Share
    """Of the pre-labels that were shown: left as they were by whoever answered first."""
    right: Share
    """Of the best run's predictions, on images that have a class and that it did not learn from."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Both. `run` is the one that is judged; None before the first."""

    run: str | None
    control: Arm
    chosen: Arm


def arms(session: Session, firsts: Collection[First], classes: list[str]) -> Arms | None:
    """Compare both arms; None where nothing was handed out that was drawn at random."""
    query = select(LabellingTask.image_id).where(LabellingTask.state != TaskState.SENT)
    control = set(session.scalars(query.where(LabellingTask.control)))
    if not control:
        return None
    chosen = set(session.scalars(query)) - control
    run = runs.best(session, classes)
    right = {} if run is None else _right(session, run)
    return Arms(None if run is None else run.name, _arm(firsts, right, control), _arm(firsts, right, chosen))


def _right(session: Session, run: Run) -> dict[int, bool]:
    """Whether a run was right, by image: where people named a class and its split does not have the image."""
    ids = ids_now(session, map(class_key, run.classes))
    learned = select(SnapshotItem.image_id).where(SnapshotItem.snapshot_id == run.snapshot_id)
    query = (
        select(Label.image_id, Label.class_id, Prediction.class_index)
        .join(Prediction, Prediction.image_id == Label.image_id)
        .where(Prediction.run_id == run.id, Label.origin == AnnotationOrigin.LABEL_STUDIO)
        .where(Label.class_id.is_not(None), Label.image_id.not_in(learned))
    )
    return {image_id: ids[index] == class_id for image_id, class_id, index in session.execute(query)}


def _arm(firsts: Iterable[First], right: dict[int, bool], images: Collection[int]) -> Arm:
    mine = [first for first in firsts if first.image_id in images and first.state is AnnotationState.ACTIVE]
    accepted = sum(first.prelabel is Prelabel.ACCEPTED for first in mine)
    changed = sum(first.prelabel is Prelabel.CHANGED for first in mine)
    judged = [hit for image_id, hit in right.items() if image_id in images]
    return Arm(
        len({first.image_id for first in mine}), Share(accepted, accepted + changed), Share(sum(judged), len(judged))
    )
