"""What people see of a run's predictions."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.config import Settings
from curate.people.sample import falls_within
from db.batches import chunks
from db.models import Prediction, Review, ReviewReason, Run
from labeler.prelabels import Shown


def shown(session: Session, run: Run, images: Sequence[int], settings: Settings) -> dict[int, Shown]:
    """Give what a run said of these images, by id, as people see it: a share of it is to be kept from them."""
    checks = set(session.scalars(select(Review.image_id).where(Review.reason == ReviewReason.CHECK)))
    found: dict[int, Shown] = {}
    names = runs.names_now(session, run)
    for ids in chunks(images):
        columns = select(Prediction.image_id, Prediction.class_index, Prediction.score)
        rows = session.execute(columns.where(Prediction.run_id == run.id, Prediction.image_id.in_(ids)))
        for image_id, index, score in rows:
            # Whoever is to check what a run said must not be told it.
            hidden = image_id in checks or falls_within(image_id, settings.labelling.hidden, settings)
            label = names[index]
            if label is not None:  # else the page has no choice for it
                found[image_id] = Shown(label, score, hidden)
    return found
