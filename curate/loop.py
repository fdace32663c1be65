"""`curate loop`: people label, the model learns, and what it is least sure of is what people see next."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy import select

from curate.crawl.refill import refill
from curate.labelling import Labelling
from curate.live.interrupts import remembered
from curate.live.standing import alone, standing
from curate.prelabel import prelabel
from curate.progress import QUIET, Progress, Telling
from curate.project import Project
from curate.rounds.account import RoundReport, round_of
from curate.split import split
from curate.training import check_network, options_from, train_run
from db.errors import DatasetError
from db.models import Image

_POLL_SECONDS = 3.0
_NOTHING = "there is nothing to label; bring images in with `curate crawl` or `curate import`"


def _pause() -> None:
    time.sleep(_POLL_SECONDS)


def loop(
    project: Project,
    desk: Labelling,
    rounds: int,
    batch: int,
    progress: Progress = QUIET,
    pause: Callable[[], None] = _pause,
    *,
    crawl: bool = False,
) -> Iterator[RoundReport]:
    """Go through `rounds` rounds, each as soon as people have labelled `batch` images, and yield each at its end.

    `pause` passes the time between two looks for labels. With `crawl`, classes that are short are looked for in the web
    before more is handed out. A loop that was stopped is gone on with by running it again. Raises DatasetError when
    there is nothing to label, or another loop or watch is at it; and TrainerError for a network that cannot be had,
    before anybody labels for it.
    """
    with alone(project):
        if not _images(project):
            raise DatasetError(_NOTHING)
        check_network(project)
        desk.start(progress)
        desk.pull()
        stands = standing(desk)
        if not stands.open_tasks and not desk.push(batch, progress=progress).created and not stands.labels:
            raise DatasetError(_NOTHING)
        for number in range(1, rounds + 1):
            yield _round(project, desk, number, batch, progress, pause, crawl=crawl)


def _images(project: Project) -> bool:
    with project.database.read() as session:
        return session.scalar(select(Image.id).limit(1)) is not None


def _round(
    project: Project,
    desk: Labelling,
    number: int,
    batch: int,
    progress: Progress,
    pause: Callable[[], None],
    *,
    crawl: bool,
) -> RoundReport:
    _wait_for_labels(desk, batch, progress, pause)
    split(project)
    trained = train_run(project, options_from(project), progress=progress)
    prelabel(project, desk, None, progress)
    crawled = refill(project, progress) if crawl else {}
    if any(crawled.values()):
        prelabel(project, desk, None, progress)
    pushed = desk.push(batch, progress=progress)
    return replace(round_of(project, trained.run), round=number, pushed=pushed.created, crawled=crawled)


def _wait_for_labels(desk: Labelling, batch: int, progress: Progress, pause: Callable[[], None]) -> None:
    """Pull until a batch of labels is there, or all that was handed out is answered."""
    where = f"waiting for labels at {desk.status().url}"
    with progress.task(where, batch, "labels") as task, remembered() as interrupted:
        shown = 0
        while True:
            desk.pull()
            stands = standing(desk)
            task.advance(min(stands.labels, batch) - shown)
            shown = min(stands.labels, batch)
            if stands.labels >= batch or (stands.labels and not stands.open_tasks):
                return
            # Beside what is shown already: told, not shown.
            if not stands.open_tasks and not desk.push(batch, progress=Telling(progress.say)).created:
                raise DatasetError(
                    "everything handed out is answered, and no answer is a label; nothing is left to label"
                )
            pause()
            if interrupted.is_set():
                raise KeyboardInterrupt
