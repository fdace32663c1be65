"""`curate loop`: people label, the model learns, and what it is least sure of is what people see next."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select

from curate import config
from curate.crawl.refill import refill
from curate.labelling import Labelling
from curate.live.interrupts import remembered
from curate.live.standing import alone, learned, standing
from curate.prelabel import prelabel
from curate.progress import QUIET, Progress, Telling
from curate.project import Project
from curate.rounds.account import RoundReport, round_of
from curate.split import split
from curate.training import check_network, options_from, train_run
from db.errors import DatasetError
from db.models import Image
from db.models.base import now

_POLL_SECONDS = 3.0
_NOTHING = "there is nothing to label; bring images in with `curate crawl` or `curate import`"
_NOTHING_LEFT = "everything handed out is answered, and nothing is left to label"


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

    It ends before that once everything is labelled. `pause` passes the time between two looks for labels. With `crawl`,
    classes that are short are looked for in the web before more is handed out. A loop that was stopped is gone on with
    by running it again. Raises DatasetError when there is nothing to label, or another loop or watch is at it; and
    TrainerError for a network that cannot be had, before anybody labels for it.
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
            if not _wait_for_split(project, desk, batch, progress, pause):
                if number == 1:
                    raise DatasetError(f"{_NOTHING_LEFT}; no new answer brings anything to learn from")
                progress.say(f"{_NOTHING_LEFT}: the loop ends after round {number - 1}")
                return
            yield _round(project, desk, number, batch, progress, crawl=crawl)


def _images(project: Project) -> bool:
    with project.database.read() as session:
        return session.scalar(select(Image.id).limit(1)) is not None


def _present(project: Project) -> Project:
    """The project by what `curate.toml` says by now: classes may be added while people label."""
    return replace(project, settings=config.load(project.root / config.FILE_NAME))


def _round(
    project: Project, desk: Labelling, number: int, batch: int, progress: Progress, *, crawl: bool
) -> RoundReport:
    project = _present(project)
    trained = train_run(project, options_from(project), progress=progress)
    prelabel(project, desk, None, progress)
    crawled = refill(project, progress) if crawl else {}
    if any(crawled.values()):
        prelabel(project, desk, None, progress)
    pushed = desk.push(batch, progress=progress)
    return replace(round_of(project, trained.run), round=number, pushed=pushed.created, crawled=crawled)


def _wait_for_split(
    project: Project, desk: Labelling, batch: int, progress: Progress, pause: Callable[[], None]
) -> bool:
    """Wait for labels until they make a split that no run has learned from; False where nothing is left to label."""
    since = datetime(1970, 1, 1, tzinfo=UTC)
    while labels := _wait_for_labels(desk, batch, since, progress, pause):
        since = now()
        snapshot = split(_present(project), progress).snapshot
        if not learned(project, snapshot):
            return True
        progress.say(f"{labels} new labels change nothing of split {snapshot}: nothing to train on yet")
    return False


def _wait_for_labels(
    desk: Labelling, batch: int, since: datetime, progress: Progress, pause: Callable[[], None]
) -> int:
    """Pull until a batch of labels from after `since` is there, or all that was handed out is answered.

    Gives how many there are; 0 where nothing is left to hand out.
    """
    where = f"waiting for labels at {desk.status().url}"
    with progress.task(where, batch, "labels") as task, remembered() as interrupted:
        shown = 0
        while True:
            desk.pull()
            stands = standing(desk, since)
            task.advance(min(stands.labels, batch) - shown)
            shown = min(stands.labels, batch)
            if stands.labels >= batch or (stands.labels and not stands.open_tasks):
                return stands.labels
            # Beside what is shown already: told, not shown.
            if not stands.open_tasks and not desk.push(batch, progress=Telling(progress.say)).created:
                return 0
            pause()
            if interrupted.is_set():
                raise KeyboardInterrupt
