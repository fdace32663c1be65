"""`curate prelabel`: predictions for everything that nobody has labelled yet, kept here and shown to people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import select

from curate import runs
from curate.labelling import Labelling
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.select import unlabelled
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
        known = set(session.scalars(select(Prediction.image_id).where(Prediction.run_id == chosen.id)))
    missing = [image for image in waiting if image.id not in known]
    if missing:
        _predict(project, chosen, missing, progress)
    return PrelabelReport(chosen.name, len(waiting), len(missing))


def _predict(project: Project, run: Run, images: Sequence[Image], progress: Progress) -> None:
    predictor = Predictor.load(project.runs / run.name, pictures=len(images), say=progress.say)
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
