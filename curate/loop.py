"""`curate loop`: people label, the model learns, and what it is least sure of is what people see next."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.labelling import Labelling
from curate.live.standing import alone, learned_until, standing
from curate.prelabel import prelabel
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from db.errors import DatasetError
from db.labels import keeper_labels
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    Prelabel,
)

_POLL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round: what was labelled by its end, the run trained on that, and how its predecessor's pre-labels fared."""

    round: int
    labelled: int
    complete: int
    """Classes that have their target."""
    run: str
    validation_accuracy: float
    prelabels_accepted: float | None
    """Share of the shown pre-labels that people left as they were; None while there were none."""
    pushed: int


def _pause() -> None:
    time.sleep(_POLL_SECONDS)


def loop(
    project: Project,
    desk: Labelling,
    rounds: int,
    batch: int,
    progress: Progress = QUIET,
    pause: Callable[[], None] = _pause,
) -> Iterator[Round]:
    """Go through `rounds` rounds, each as soon as people have labelled `batch` images, and yield each at its end.

    `pause` passes the time between two looks for labels. A loop that was stopped is gone on with by running it again.
    Raises DatasetError when there is nothing to label, or another loop or watch is at it.
    """
    with alone(project):
        desk.start(progress)
        desk.pull()
        stands = standing(desk)
        if not stands.open_tasks and not desk.push(batch).created and not stands.labels:
            raise DatasetError("there is nothing to label; bring images in with `curate crawl` or `curate import`")
        for number in range(1, rounds + 1):
            yield _round(project, desk, number, batch, progress, pause)


def _round(
    project: Project, desk: Labelling, number: int, batch: int, progress: Progress, pause: Callable[[], None]
) -> Round:
    _wait_for_labels(desk, batch, progress, pause)
    with project.database.read() as session:
        since = learned_until(session)
    report = split(project)
    trained = train_run(project, options_from(project), progress=progress)
    prelabel(project, desk, None, progress)
    pushed = desk.push(batch)
    return Round(
        round=number,
        labelled=_labelled(project),
        complete=sum(not counts.missing for counts in report.classes.values()),
        run=trained.run,
        validation_accuracy=trained.result.validation_accuracy,
        prelabels_accepted=_accepted(project, since),
        pushed=pushed.created,
    )


def _wait_for_labels(desk: Labelling, batch: int, progress: Progress, pause: Callable[[], None]) -> None:
    """Pull until a batch of labels is there, or all that was handed out is answered."""
    with progress.task("waiting for labels", batch, "labels") as task:
        shown = 0
        while True:
            desk.pull()
            stands = standing(desk)
            task.advance(min(stands.labels, batch) - shown)
            shown = min(stands.labels, batch)
            if stands.labels >= batch or (stands.labels and not stands.open_tasks):
                return
            if not stands.open_tasks and not desk.push(batch).created:
                raise DatasetError(
                    "everything handed out is answered, and no answer is a label; nothing is left to label"
                )
            pause()


def _labelled(project: Project) -> int:
    with project.database.read() as session:
        return sum(label.class_id is not None for label in keeper_labels(session))


def _accepted(project: Project, since: datetime) -> float | None:
    with project.database.read() as session:
        counts = _prelabel_counts(session, since)
    shown = counts.get(Prelabel.ACCEPTED, 0) + counts.get(Prelabel.CHANGED, 0)
    return counts.get(Prelabel.ACCEPTED, 0) / shown if shown else None


def _prelabel_counts(session: Session, since: datetime) -> dict[Prelabel, int]:
    first = (AnnotationRevision.number == 1) & (AnnotationRevision.recorded_at > since)
    query = (
        select(AnnotationRevision.prelabel, func.count())
        .join(Annotation, Annotation.id == AnnotationRevision.annotation_id)
        .where(Annotation.origin == AnnotationOrigin.LABEL_STUDIO, first)
        .group_by(AnnotationRevision.prelabel)
    )
    return {row[0]: row[1] for row in session.execute(query)}
