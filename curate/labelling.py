"""Labelling as the commands see it: which server, which project, and what goes to and fro."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate import runs
from curate.config import Settings
from curate.people import crowdlab
from curate.people.examples import examples
from curate.people.sample import falls_within
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.quality.apply import follow_labels
from curate.select import choose, unlabelled
from db.batches import chunks
from db.errors import LabelStudioError
from db.models import LabellingProject, LabellingTask, Prediction, Review, ReviewReason, Run, TaskState
from labeler.client import Server, is_loopback
from labeler.dataset import Dataset
from labeler.install import STEPS, Installation, install, installation
from labeler.order import keep_order
from labeler.prelabels import Shown, push_prelabels
from labeler.projects import ensure_project, known_project, page_is_edited, the_project
from labeler.pull import PullReport, pull_annotations
from labeler.push import push_tasks
from labeler.review import show_reviews
from labeler.server import USER, LocalServer
from labeler.signin import open_signed_in, session_cookie
from labeler.withdraw import withdraw_tasks


@dataclass(frozen=True)
class Environment:
    """What labelling takes from the user's machine: where Label Studio is kept, and a token given by hand, if any."""

    cache: Path
    token: str | None = field(repr=False)


@dataclass(frozen=True)
class Standing:
    """How labelling stands. `project` is its number on the server, once there is one."""

    url: str
    project: int | None
    running: bool
    tasks: int
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PushReport:
    """Tasks made, tasks that had pre-labels sent, and all tasks there now."""

    created: int
    found: int
    prelabelled: int
    tasks: int


class Labelling:
    """One project's labelling."""

    def __init__(self, project: Project, environment: Environment) -> None:
        self.project = project
        self.environment = environment
        self.local = LocalServer(project.private / "label-studio", project.root)

    def start(self, progress: Progress = QUIET, *, reset_page: bool = False) -> Standing:
        """Start a Label Studio of this project's own, or use the one that a token was given for; make the project.

        A labelling page that a person has edited stays as it is, unless `reset_page` is said.
        """
        url = self.project.settings.label_studio.url
        if self.environment.token is None:
            if not is_loopback(url):
                raise LabelStudioError(f"{url} is not this machine; set CURATE_LABEL_STUDIO_TOKEN to label there")
            program = installation(self.environment.cache)
            if not program.ready:
                _install(program, progress)
            server = self.local.start(program, url)
            if server.url != url:
                progress.say(f"Label Studio is at {server.url}: the port of {url} was taken or has changed")
        else:
            server = self.server()
        with server:
            server.check()
            dataset = self.dataset()
            found, made = ensure_project(dataset, server, reset_page=reset_page)
            keep_order(dataset, server, found)
            if page_is_edited(server, found):
                progress.say("the labelling page was edited in Label Studio: it stays as it is there")
        if made:
            progress.say(f"made the project {self.project.settings.dataset.name!r} in Label Studio")
        return self.status()

    def stop(self) -> bool:
        """Stop the server that `start` started; tell whether it ran."""
        return self.local.stop()

    def status(self, *, show_token: bool = False) -> Standing:
        """Say where the server is, and what it holds. Asks it nothing but whether it lives."""
        if self.environment.token is None and not self.local.exists:
            return Standing(self.project.settings.label_studio.url, None, running=False, tasks=0)
        with self.server() as server:
            running = self.local.running() if server.local else _answers(server)
            project = known_project(self.dataset(), server)
            with self.project.database.read() as session:
                tasks = _task_count(session, project)
            authorization = server.authorization() if show_token else None
        return Standing(server.url, project.number if project else None, running, tasks, authorization)

    def reachable(self) -> bool:
        """Whether there is a server to talk to, as far as can be told without asking it."""
        return self.environment.token is not None or self.local.running()

    def server(self) -> Server:
        """Give the server: the one a token was given for, or else the one started here. Raises LabelStudioError."""
        token = self.environment.token
        if token is None:
            return self.local.server()
        url = self.project.settings.label_studio.url
        return Server(url=url, token=token, identity=url, local=False)

    def push(self, limit: int | None = None) -> PushReport:
        """Send unlabelled keepers that have no task yet, the most wanted first, and the best run's predictions."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            project = the_project(dataset, server)
            with self.project.database.read() as session:
                known = set(
                    session.scalars(select(LabellingTask.image_id).where(LabellingTask.project_id == project.id))
                )
            count = limit if limit is not None else self._unlabelled_count()
            wanted = [choice.id for choice in choose(self.project, count, exclude=known)]
            sent = push_tasks(dataset, server, project, wanted)
            shown = self._push_prelabels(server, dataset, project)
            with self.project.database.read() as session:
                return PushReport(sent.created, sent.found, shown, _task_count(session, project))

    def pull(self, *, accept_deletions: bool = False) -> PullReport:
        """Take in what people answered since the last pull."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            found = pull_annotations(dataset, server, the_project(dataset, server), accept_deletions=accept_deletions)
        crowdlab.settle(self.project)
        with self.project.database.write() as session:
            follow_labels(session)
        return found

    def withdraw(self) -> int:
        """Delete the tasks of images that were forgotten; give their number. A push or a pull does it too."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            return withdraw_tasks(dataset, server, the_project(dataset, server))

    def push_prelabels(self, run: str) -> int:
        """Show a run's predictions on the tasks that are there; give how many were sent now."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            return self._push_prelabels(server, dataset, the_project(dataset, server), run)

    def show_reviews(self, reasons: Mapping[int, str]) -> int:
        """Show these images, and no others, in the view for review, each with its reason; give their number."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            return show_reviews(dataset, server, the_project(dataset, server), reasons)

    def open(self) -> str:
        """Open the project in the user's browser, signed in where the server is ours; give its address."""
        with self.server() as server:
            project = the_project(self.dataset(), server)
        # Not the address of the labelling page itself: opened by that, the server keeps neither order nor locks. Its
        # button "Label All Tasks" does.
        target = f"{server.url}/projects/{project.number}/data"
        if server.local:
            kept = self.local.credentials()
            open_signed_in(target, session_cookie(server.url, USER, kept.password))
        return target

    def dataset(self) -> Dataset:
        """Give what the labeler needs of this project."""
        with self.project.database.read() as session:
            classes = self.project.classes(session)
        settings = self.project.settings
        return Dataset(
            title=settings.dataset.name,
            root=self.project.root,
            database=self.project.database,
            store=self.project.store,
            classes=classes,
            hotkeys=settings.hotkeys(),
            examples=lambda: examples(self.project),
            overlap=settings.labelling.overlap,
            overlap_share=settings.labelling.overlap_share,
        )

    def _push_prelabels(
        self, server: Server, dataset: Dataset, project: LabellingProject, name: str | None = None
    ) -> int:
        with self.project.database.read() as session:
            classes = list(dataset.classes)
            run = runs.best(session, classes) if name is None else runs.choose(session, name, classes)
            predictions = {} if run is None else _shown(session, run, self.project.settings)
        return 0 if run is None else push_prelabels(dataset, server, project, run, predictions)

    def _unlabelled_count(self) -> int:
        with self.project.database.read() as session:
            return len(unlabelled(session))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time talk to the server: two pushes would each send what the other has not noted yet."""
        with self.project.lock("labelling"):
            yield


def _install(found: Installation, progress: Progress) -> None:
    progress.say("installing Label Studio, once for all projects: one to three minutes, 1 GB")
    with progress.task("installing Label Studio", STEPS, "steps") as task:

        def step(name: str) -> None:
            progress.say(f"  {name}")
            task.advance()

        install(found, step)


def _answers(server: Server) -> bool:
    try:
        server.check()
    except LabelStudioError:
        return False
    return True


def _task_count(session: Session, project: LabellingProject | None) -> int:
    if project is None:
        return 0
    query = select(func.count()).where(LabellingTask.project_id == project.id, LabellingTask.state == TaskState.THERE)
    return session.scalar(query) or 0


def _shown(session: Session, run: Run, settings: Settings) -> dict[int, Shown]:
    """A run's predictions for what is unlabelled, a share of them to be kept from people."""
    waiting = [image.id for image in unlabelled(session)]
    checks = set(session.scalars(select(Review.image_id).where(Review.reason == ReviewReason.CHECK)))
    found: dict[int, Shown] = {}
    for ids in chunks(waiting):
        query = select(Prediction).where(Prediction.run_id == run.id, Prediction.image_id.in_(ids))
        for said in session.scalars(query):
            # Whoever is to check what a run said must not be told it.
            hidden = said.image_id in checks or falls_within(said.image_id, settings.labelling.hidden, settings)
            found[said.image_id] = Shown(run.classes[said.class_index], said.score, hidden)
    return found
