"""What the watch does with labels: trains when enough are new, and shows people what the best run says now."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from curate import config, runs
from curate.labelling import Labelling
from curate.live.interrupts import held
from curate.live.jobs import Ended, Job
from curate.live.standing import learned, standing, training_elsewhere
from curate.project import Project
from curate.select import unanswered, unlabelled
from curate.split import split
from db.errors import ConfigError, DatasetError
from db.models import Run
from db.models.base import now

_TRY_AGAIN_SECONDS = 60.0
_LONGEST_REST = 3600.0
"""After pre-labels that failed: the first time, and at most."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A run that was trained meanwhile."""

    run: str
    validation_accuracy: float
    best: bool
    """Whether it is what answers now."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that came to nothing."""

    job: str
    problem: str
    log: str


class Learner:
    """Trains and pre-labels in the background, one at a time. `step` does what is due; `wake` is called when it is."""

    def __init__(
        self, project: Project, desk: Labelling, every: int, say: Callable[[str], None], wake: Callable[[], None]
    ) -> None:
        self.project = project
        self.desk = desk
        self.every = every
        self.trained: list[Trained] = []
        self.failed: list[Failed] = []
        self.prelabelled = 0
        self._say = say
        self._wake = wake
        self._job: Job | None = None
        self._since = datetime(1970, 1, 1, tzinfo=UTC)
        """Labels from before it count no more: a split brought nothing new, or a training of them failed."""
        self._split_at = self._since
        self._shown: str | None = None
        """The run whose predictions people see."""
        self._incomplete = False
        """Whether there are tasks that it has perhaps said nothing of."""
        self._rest = 0.0
        self._not_before = 0.0
        self._asked = threading.Event()
        self._elsewhere: str | None = None

    @property
    def busy(self) -> bool:
        """Whether something goes on in the background."""
        return self._job is not None

    @property
    def labels(self) -> int:
        """How many labels wait for the next training."""
        return standing(self.desk, self._since).labels

    def ask(self) -> None:
        """Train now, if there is any new label. May be called from any thread."""
        self._asked.set()
        self._wake()

    def handed_out(self) -> None:
        """Note that there are new tasks."""
        self._incomplete = True

    def step(self, *, reachable: bool) -> None:
        """Take up what ended, and begin what is due. Raises LabelStudioError where pre-labels cannot be sent."""
        if self._job is not None:
            self._collect(self._job)
        if self._job is None and reachable and time.monotonic() >= self._not_before:
            self._refresh()
        if self._job is None:
            self._train()

    def terminate(self) -> None:
        """Ask what goes on to stop."""
        if self._job is not None:
            self._job.terminate()

    def stop(self) -> None:
        """See to it that it has stopped; a training can be resumed."""
        if self._job is not None:
            how = "; `curate train --resume` goes on with it" if self._job.name == "train" else ""
            self._say(f"stopping `curate {self._job.name}`{how}")
            self._job.stop()
            self._job = None

    def _start(self, *arguments: str) -> Job:
        settings = self.desk.job_settings()
        with held():  # a process that nobody knows of could not be stopped
            self._job = Job(arguments, self.project.root, self.project.private / "watch", settings, self._wake)
            return self._job

    def _train(self) -> None:
        labels = self.labels
        if not labels:
            self._asked.clear()
        if not labels or (labels < self.every and not self._asked.is_set()):
            return
        elsewhere = training_elsewhere(self.project)
        if elsewhere != self._elsewhere and elsewhere:
            self._say(f"run {elsewhere} is being trained by another process; {labels} new labels wait for its end")
        self._elsewhere = elsewhere
        if elsewhere:
            return
        self._asked.clear()
        self._split_at = now()
        try:
            # By what curate.toml says by now, as the training will.
            settings = config.load(self.project.root / config.FILE_NAME)
            snapshot = split(replace(self.project, settings=settings)).snapshot
        except (ConfigError, DatasetError) as error:
            self._since = self._split_at
            self._say(str(error))
            return
        if learned(self.project, snapshot):
            self._since = self._split_at
            self._say(f"{labels} new labels change nothing of split {snapshot}: nothing to train on yet")
            return
        job = self._start("train")
        self._say(f"training on split {snapshot}, with {labels} new labels; its log: {job.log}")

    def _refresh(self) -> None:
        """Let people see what the best run says of all that waits for a label."""
        with self.project.database.read() as session:
            best = self._best(session)
            if best is None or (best.name == self._shown and not self._incomplete):
                return
            missing = len(unanswered(session, best, unlabelled(session)))
        if missing:
            self._start("prelabel", "--run", best.name)
            self._say(f"predicting {missing} images by run {best.name}")
        else:
            self._note_shown(best.name, self.desk.push_prelabels(best.name))

    def _note_shown(self, run: str, sent: int) -> None:
        self._shown, self._incomplete, self._rest = run, False, 0.0
        self.prelabelled += sent
        if sent:
            self._say(f"{sent} pre-labels of run {run} sent: the least sure image comes next")

    def _best(self, session: Session) -> Run | None:
        return runs.best(session, list(self.project.classes(session)))

    def _collect(self, job: Job) -> None:
        ended = job.result()
        if ended is None:
            return
        self._job = None
        if ended.data is None:
            self._note_failure(job, ended)
        elif job.name == "train":
            self._note_run(ended.data)
        else:
            self._note_shown(str(ended.data["run"]), int(ended.data["pushed"]))

    def _note_run(self, data: dict[str, Any]) -> None:
        name, accuracy = str(data["run"]), float(data["best"]["validation_accuracy"])
        with self.project.database.read() as session:
            best = self._best(session)
        answers = best is not None and best.name == name
        self.trained.append(Trained(name, accuracy, answers))
        more = "answers from now on" if best is None or answers else f"run {best.name} stays the better one"
        self._say(f"run {name} is trained: validation accuracy {accuracy:.3f}; {more}")

    def _note_failure(self, job: Job, ended: Ended) -> None:
        self.failed.append(Failed(job.name, ended.problem, str(ended.log)))
        if job.name == "train":
            self._since = self._split_at
            again = f"the next one begins after {self.every} more labels"
        else:
            self._rest = min(_LONGEST_REST, 2 * self._rest or _TRY_AGAIN_SECONDS)
            self._not_before = time.monotonic() + self._rest
            again = f"tried again in {self._rest:.0f} s"
        self._say(f"{job.name} failed: {ended.problem} (its log: {ended.log}); {again}")
