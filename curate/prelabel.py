"""`curate prelabel`: predictions for everything that nobody has labelled yet, kept here and shown to people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from curate import runs
from curate.labelling import Labelling
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.select import unanswered, unlabelled
from db.batches import chunks
from db.models import Image, Prediction, Run
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
    return replace(report, pushed=desk.push_prelabels(report.run))


def predict_unlabelled(project: Project, run: str | None = None, progress: Progress = QUIET) -> PrelabelReport:
    """Predict every unlabelled keeper by the best run, or by `run`. What it answered before is not asked again.

    Raises DatasetError when no run is finished.
    """
    with project.database.read() as session:
        chosen = runs.choose(session, run, [c.name for c in project.settings.classes])
        waiting = unlabelled(session)
        missing = unanswered(session, chosen, waiting)
    if missing:
        predictor = Predictor.load(project.runs / chosen.name, pictures=len(missing), say=progress.say)
        predict_images(project, chosen, predictor, missing, progress)
    return PrelabelReport(chosen.name, len(waiting), len(missing))


def predict_images(
    project: Project, run: Run, predictor: Predictor, images: Sequence[Image], progress: Progress = QUIET
) -> None:
    """Put on record what `run`, loaded as `predictor`, says of these images."""
    answers = predictor.stream(partial(project.store.read, image.sha256, image.format) for image in images)
    with progress.task(f"predicting by {run.name}", len(images), "images") as task:
        for batch in chunks(zip(images, answers, strict=True), _BATCH):
            _keep(project, run, batch)
            task.advance(len(batch))


def _keep(project: Project, run: Run, answered: Iterable[tuple[Image, Answer | Exception]]) -> None:
    with project.database.write() as session:
        for image, answer in answered:
            if not isinstance(answer, Answer):
                raise answer  # every stored image decoded fully once: this one was altered since
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
