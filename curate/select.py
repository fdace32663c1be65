"""`curate next`: what is unlabelled, and which of it to label next; the order is that of `curate.queue`."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.progress import QUIET, Progress
from curate.project import Project
from curate.queue.arrange import Arranger
from curate.queue.asker import asker
from curate.queue.state import read
from db import reviews
from db.batches import chunks
from db.labels import accepted_keepers, keeper_labels
from db.models import Image, ImageState, Prediction, Run


@dataclass(frozen=True, slots=True)
class Choice:
    """One image to label. `score` is the best run's confidence, or None where nothing is predicted yet.

    What is of the `control` arm was drawn at random, whatever the strategy.
    """

    id: int
    path: str
    score: float | None
    why: str
    control: bool = False


def choose(
    project: Project,
    count: int,
    *,
    exclude: Iterable[int] = (),
    strategy: str | None = None,
    progress: Progress = QUIET,
) -> list[Choice]:
    """Choose up to `count` unlabelled keepers, in the order in which they should be labelled.

    By the strategy of that name, else by `queue.strategy`. What cannot be had cheaply is done without, and said.
    Raises ConfigError for a strategy that is not there.
    """
    settings = project.settings
    with progress.task("choosing what to label", None, "images") as task:
        task.note("reading what is known")
        with project.database.read() as session:
            state = read(project, session, unlabelled_ids(session), set(exclude))
            task.note(f"{len(state.waiting)} images wait")
            ask = asker(project, session, state, strategy or settings.queue.strategy, progress.say)
        chosen = Arranger(state, ask, settings.queue.control, settings.dataset.target).arrange(count)
    return [
        Choice(one.image.id, one.image.path, max(one.image.said, default=None), one.why, one.control) for one in chosen
    ]


def unlabelled_ids(session: Session) -> list[int]:
    """Ids of keepers that nothing is said of, and of those that a person must decide, or is to look at again.

    What was accepted from a run unseen is not among them, whether it counts or not.
    """
    settled = {label.keeper_id for label in keeper_labels(session) if not label.conflict}
    settled = (settled | accepted_keepers(session).keys()) - reviews.waiting(session).keys()
    query = select(Image.id).where(Image.is_keeper, Image.state == ImageState.STORED).order_by(Image.id)
    return [number for number in session.scalars(query) if number not in settled]


def unlabelled(session: Session) -> list[Image]:
    """The images of `unlabelled_ids`, in the same order."""
    query = select(Image).order_by(Image.id)
    some_ids = chunks(unlabelled_ids(session))
    return [image for ids in some_ids for image in session.scalars(query.where(Image.id.in_(ids)))]


def unanswered(session: Session, run: Run, images: Iterable[Image]) -> list[Image]:
    """Give those of `images` that `run` has said nothing of yet."""
    known = set(session.scalars(select(Prediction.image_id).where(Prediction.run_id == run.id)))
    return [image for image in images if image.id not in known]
