"""`curate distill`: a small network that learned from a large one, and what became of size, speed and accuracy."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from curate import runs
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.training import TrainReport, options_from, train_run
from db.models import Run
from trainer import parallel
from trainer.predict import Predictor

ARCH = "mobilenet_v3_small"
_RECIPE = "distill"
_ROUNDS = 5
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run costs and what it is worth."""

    run: str
    arch: str
    parameters: int
    bytes: int
    """Of its weights on disk."""
    images_per_second: float
    """In prediction on this machine, pictures decoded already: the median of five batches of 32."""
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class DistillReport:
    """The student's training, and both beside one another, on the same validation images."""

    trained: TrainReport
    teacher: Figures
    student: Figures


def distill(
    project: Project,
    *,
    teacher: str | None = None,
    arch: str | None = None,
    progress: Progress = QUIET,
    init: str | None = None,
    **given: int | str | None,
) -> DistillReport:
    """Train `arch` on the answers of the run `teacher`, or of the best undistilled one, on that run's split.

    `init` and `given` are training options as of `options_from`. Raises DatasetError for a run that is none, and
    TrainerError.
    """
    with project.database.read() as session:
        chosen = runs.choose(session, teacher, [c.name for c in project.settings.classes], taught=False)
    # The validation images must be the teacher's own: it may have learned from those of a later split.
    options = options_from(project, recipe=_RECIPE, init=init, arch=arch or ARCH, teacher=chosen.name, **given)
    with parallel.crew() as crew:
        report = train_run(project, options, snapshot=chosen.snapshot_id, progress=progress)
        crew.wait()  # until the first process has noted the run
    with project.database.read() as session:
        student = runs.choose(session, report.run, [])
    progress.say("comparing teacher and student")
    of_teacher, of_student = _figures(project, chosen, student)
    return DistillReport(report, of_teacher, of_student)


def _figures(project: Project, *compared: Run) -> list[Figures]:
    predictors = [Predictor.load(project.runs / run.name, backend="torch") for run in compared]
    speeds = _alternated([_answering(predictor) for predictor in predictors])
    return [
        Figures(
            run=run.name,
            arch=run.arch,
            parameters=sum(parameter.numel() for parameter in predictor.model.parameters()),
            bytes=(project.runs / run.name / "model.safetensors").stat().st_size,
            images_per_second=speed,
            validation_accuracy=run.validation_accuracy or 0.0,
        )
        for run, predictor, speed in zip(compared, predictors, speeds, strict=True)
    ]


def _answering(predictor: Predictor) -> Callable[[], object]:
    side = predictor.side
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, side, side, 3), np.uint8)
    return lambda: predictor.answers(pixels)


def _alternated(calls: list[Callable[[], object]]) -> list[float]:
    """Images a second of each, taken in turn, so that a machine that slows down slows all of them."""
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(_ROUNDS):
        for seconds, call in zip(took, calls, strict=True):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
    return [_BATCH / median(seconds) for seconds in took]
