"""`curate label watch`: the pull is the truth, a webhook is a hint that wakes it."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from curate.labelling import Labelling
from curate.live import door
from curate.live.interrupts import remembered
from curate.live.learning import Failed, Learner, Trained
from curate.live.model import BestRun
from curate.live.pulse import POLL_SECONDS, QUIET_SECONDS, Pulse
from curate.live.standing import alone, answers_since, standing
from curate.progress import QUIET, Progress, Telling
from curate.project import Project
from db.errors import LabelStudioError
from db.models.base import now
from labeler.backend import Backend
from labeler.hooks import hook_up, unhook
from labeler.live import USER, Door, LiveServer
from labeler.projects import NoProjectError
from labeler.wire import RefusedError

_LONGEST_BACKOFF = 60.0
_ADVICE = "; run the command again, it goes on where it stopped"
"""What a command says that ends; the watch does it."""
_REFUSED = 400
"""Statuses of requests that were not answered begin here."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`every`: new labels a training. `batch`: tasks handed out at once, when less than half as many are open."""

    every: int = 100
    batch: int = 100
    host: str = "127.0.0.1"
    port: int | None = None
    """None: the one of the last time, or any other if that is taken."""
    once: bool = False
    """One round of everything that is due, without a server."""


@dataclass
class WatchReport:
    """What came of it so far."""

    project: int = 0
    pulled: int = 0
    """Answers that came in, were changed or taken back meanwhile."""
    pushed: int = 0
    prelabelled: int = 0
    hints: int = 0
    """Webhooks that arrived and carried our secret."""
    refused: int = 0
    """Other requests to our server that were not answered: forged, malformed, too large."""
    trained: list[Trained] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


class Watch:
    """One watch. `report` can be read at any time, also after `run` was interrupted."""

    def __init__(self, project: Project, desk: Labelling, options: WatchOptions, progress: Progress = QUIET) -> None:
        self.project = project
        self.desk = desk
        self.options = options
        self.report = WatchReport()
        self._say = progress.say
        self._progress = progress
        self._woken = threading.Event()
        self._hinted = threading.Event()
        self._learner = Learner(project, desk, options.every, progress.say, self._woken.set)
        self._server: LiveServer | None = None
        self._hook = ""
        self._mended = False
        self._began = now()
        self._pulse = Pulse()
        self._trouble = ""
        self._backoff = 0.0
        self._fill_after = 0.0
        self._unusable: dict[str, int] = {}

    def run(self) -> None:
        """Work until it is interrupted, or once. Raises DatasetError, LabelStudioError for what no waiting mends."""
        with ExitStack() as stack:
            stack.enter_context(alone(self.project))
            standing_now = self.desk.start(self._progress)
            self.report.project = standing_now.project or 0
            self._say(f"watching project {standing_now.project} at {standing_now.url}")
            stack.callback(self._add_up)
            stack.callback(self._learner.stop)
            if not self.options.once:
                self._open(stack)
            stack.callback(self._learner.terminate)  # first of all: it ends while the rest is put away
            interrupted = stack.enter_context(remembered())
            while not self._round():
                self._wait()
                if interrupted.is_set():
                    raise KeyboardInterrupt

    def _round(self) -> bool:
        """Do what is due; tell whether that was all that was asked for."""
        self._woken.clear()
        reachable = self._safely(self._pull) and self._safely(self._fill)
        well = self._safely(lambda: self._learner.step(reachable=reachable)) and reachable
        if well and self._trouble:
            self._say("Label Studio answers again")
            self._trouble, self._backoff = "", 0.0
            self._register()
        return self.options.once and not self._learner.busy

    def _safely(self, talk: Callable[[], None]) -> bool:
        """Talk to Label Studio; tell whether it could be done. What keeps failing is told once."""
        try:
            talk()
        except (NoProjectError, RefusedError):
            raise
        except LabelStudioError as error:
            if self.options.once:
                raise
            self._backoff = min(_LONGEST_BACKOFF, 2 * self._backoff or 1.0)
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._say(f"{self._trouble.removesuffix(_ADVICE)} (trying again)")
            return False
        return True

    def _wait(self) -> None:
        self._woken.wait(self._backoff or self._pulse.pause())
        time.sleep(self._pulse.gap())

    def _pull(self) -> None:
        hinted = self._hinted.is_set()
        self._hinted.clear()
        began = time.monotonic()
        found = self.desk.pull()
        self._pulse.beat(found.annotations, hinted=hinted, took=time.monotonic() - began)
        if found.tasks_gone:
            self._say(f"{found.tasks_gone} tasks were deleted in Label Studio; their labels stay")
        if found.unusable != self._unusable:
            self._unusable = found.unusable
            for said, count in found.unusable.items():
                self._say(f"{count} answers name no class of this dataset: {said}")
        if self._pulse.deaf and self._hook:
            self._mend()
        self._tell()

    def _mend(self) -> None:
        """Somebody may have taken the webhook out, or made a further project; else the server cannot reach us."""
        if self._mended:
            self._say(f"no webhook comes to {self._hook}: labels are looked for every {POLL_SECONDS:.0f} s")
            self._hook = ""
            return
        self._mended = True
        self._register()
        self._pulse.forgive()

    def _tell(self) -> None:
        answers = self._pulse.news()
        if answers:
            rate = self._pulse.rate()
            learned = f"{self._learner.labels} labels since the last training ({self.options.every} start one)"
            open_tasks = standing(self.desk).open_tasks
            self._say(f"{answers} answers{f', {rate:.0f} an hour' if rate else ''}; {learned}; {open_tasks} tasks open")

    def _fill(self) -> None:
        """Hand out more where little is left to do."""
        enough = standing(self.desk).open_tasks >= max(1, self.options.batch // 2)
        if enough or time.monotonic() < self._fill_after:
            return
        made = self.desk.push(self.options.batch, progress=Telling(self._say))
        self.report.pushed += made.created
        self.report.prelabelled += made.prelabelled
        if made.created or made.found:
            self._learner.handed_out()
            self._fill_after = 0.0
            self._say(f"{made.created} images handed out; {made.tasks} tasks in Label Studio")
            return
        if not self._fill_after:
            self._say("every image is handed out; what is added is handed out too")
        self._fill_after = time.monotonic() + QUIET_SECONDS

    def _open(self, stack: ExitStack) -> None:
        """Open our server, and let Label Studio know it."""
        kept = door.kept(self.project)
        behind = Door(kept.secret, Backend(self.project.database, BestRun(self.project)), self._hint, self._learner.ask)
        self._server = stack.enter_context(door.listen(self.options.host, self.options.port, kept.port, behind))
        door.keep(self.project, kept.secret, self._server.port)
        stack.callback(self._unregister)
        self._register()
        with self.desk.server() as server:
            url = self._server.url(server.url)
        where = door.file_of(self.project)
        self._say(f"a model for Label Studio's settings: {url}, user {USER}, password in {where}")

    def _register(self) -> None:
        """Have changes told to us. The address is where a machine learning backend of Label Studio has its webhook.

        So connecting the model there makes no second one.
        """
        if self._server is None:
            return
        secret = door.kept(self.project).secret
        with self.desk.server() as server:
            url = f"{self._server.url(server.url)}/webhook"
            try:
                for project in self.desk.there(self.desk.dataset(), server):
                    hook_up(server, project.number, url, secret)
            except LabelStudioError as error:
                self._say(f"{error}: labels are looked for every {POLL_SECONDS:.0f} s")
            else:
                self._hook = url

    def _unregister(self) -> None:
        with self.desk.server() as server, suppress(LabelStudioError):
            for project in self.desk.known():
                unhook(server, project.number)

    def _hint(self) -> None:
        self.report.hints += 1
        self._hinted.set()
        self._woken.set()

    def _add_up(self) -> None:
        with self.project.database.read() as session:
            self.report.pulled = answers_since(session, self._began)
        self.report.trained, self.report.failed = self._learner.trained, self._learner.failed
        self.report.prelabelled += self._learner.prelabelled
        if self._server is not None:
            answered = self._server.answered.items()
            self.report.refused = sum(count for status, count in answered if status >= _REFUSED)
