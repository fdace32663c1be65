"""`curate prelabel`: predictions for everything that nobody has labelled yet, kept here and shown to people.

What the network saw in each image is kept, too: the queue goes by it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs, strategies
from curate.labelling import Labelling
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.queue import embeddings
from curate.select import unanswered, unlabelled
from db.batches import chunks
from db.labels import keeper_labels
from db.models import Image, Prediction, Run
from trainer import features
from trainer.predict import Answer, Predictor

_BATCH = 256
"""Predictions a transaction."""


@dataclass(frozen=True, slots=True)
class PrelabelReport:
    """The run that answered, how many unlabelled images it has an answer for, new ones now, and how many were sent."""

    run: str
    images: int
    predicted: int
    pushed: int = 0


def prelabel(project: Project, desk: Labelling, run: str | None = None, progress: Progress = QUIET) -> PrelabelReport:
    """Predict everything unlabelled by the best run, or by `run`, and show it in Label Studio if that is there."""
    report = predict_unlabelled(project, run, progress)
    if not desk.reachable():
        progress.say("Label Studio is not running: the predictions are kept, and go out with `curate label push`")
        return report
    return replace(report, pushed=desk.push_prelabels(report.run, progress))


def predict_unlabelled(project: Project, run: str | None = None, progress: Progress = QUIET) -> PrelabelReport:
    """Predict every unlabelled keeper by the best run, or by `run`. What it answered before is not asked again.

    Labelled images are shown to it, too, where the queue's strategy goes by where they lie. Raises DatasetError when no
    run is finished.
    """
    with project.database.read() as session:
        chosen = runs.choose(session, run, list(project.classes(session)))
        waiting = unlabelled(session)
        missing = unanswered(session, chosen, waiting)
        beside = _beside(project, session, chosen)
    if missing or beside:
        predictor = Predictor.load(project.runs / chosen.name, pictures=len(missing) + len(beside), say=progress.say)
        predict_images(project, chosen, predictor, missing, progress)
        _look_at(project, chosen, predictor, beside, progress)
    return PrelabelReport(chosen.name, len(waiting), len(missing))


def _beside(project: Project, session: Session, run: Run) -> list[Image]:
    """Labelled keepers that the strategy asks about, and that `run` has not seen as it answered."""
    labelled = [label.keeper_id for label in keeper_labels(session) if label.class_id is not None]
    if not strategies.named(project.settings.queue.strategy).beside(len(labelled), len(run.classes)):
        return []
    known = embeddings.kept(project, run)
    some = (image for ids in chunks(labelled) for image in session.scalars(select(Image).where(Image.id.in_(ids))))
    return [image for image in some if image.sha256 not in known]


def predict_images(
    project: Project, run: Run, predictor: Predictor, images: Sequence[Image], progress: Progress = QUIET
) -> None:
    """Put on record what `run`, loaded as `predictor`, says of these images, and keep what it saw."""
    with progress.task(f"predicting by {run.name}", len(images), "images") as task:
        for batch in _answered(project, predictor, images):
            # Features first: of an image with a prediction on record nothing is asked again.
            _keep_features(project, run, batch)
            _keep(project, run, batch)
            task.advance(len(batch))


def _look_at(project: Project, run: Run, predictor: Predictor, images: Sequence[Image], progress: Progress) -> None:
    """Keep what `run` sees in images of which no prediction is wanted."""
    if images:
        with progress.task(f"looking at labelled images by {run.name}", len(images), "images") as task:
            for batch in _answered(project, predictor, images):
                _keep_features(project, run, batch)
                task.advance(len(batch))


def _answered(project: Project, predictor: Predictor, images: Sequence[Image]) -> Iterator[list[tuple[Image, Answer]]]:
    found = predictor.stream(partial(project.store.read, image.sha256, image.format) for image in images)
    for batch in chunks(zip(images, found, strict=True), _BATCH):
        answered = []
        for image, answer in batch:
            if not isinstance(answer, Answer):
                raise answer  # every stored image decoded fully once: this one was altered since
            answered.append((image, answer))
        yield answered


def _keep_features(project: Project, run: Run, answered: Sequence[tuple[Image, Answer]]) -> None:
    found = {image.sha256: answer.features for image, answer in answered}
    features.add(project.private / features.FOLDER, embeddings.shelf(run), found)


def _keep(project: Project, run: Run, answered: Iterable[tuple[Image, Answer]]) -> None:
    with project.database.write() as session:
        for image, answer in answered:
            session.merge(
                Prediction(
                    run_id=run.id,
                    image_id=image.id,
                    class_index=answer.label,
                    score=answer.score,
                    outside=answer.outside,
                    probabilities=[round(p, 6) for p in answer.probabilities],
                )
            )
