"""Labelling as the commands see it: which server, which project, and what goes to and fro."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate import config, runs
from curate.config import Settings
from curate.handout import Which, wanted
from curate.people import crowdlab
from curate.people.examples import examples
from curate.people.sample import falls_within
from curate.permission import NEVER, Permission
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.quality.apply import follow_labels
from curate.select import unlabelled
from db.batches import chunks
from db.classes import fates, former
from db.errors import LabelStudioError
from db.models import LabellingProject, LabellingTask, Prediction, Review, ReviewReason, Run, TaskState
from labeler.backup import BackupReport, back_up
from labeler.client import Server, is_loopback
from labeler.dataset import Dataset
from labeler.install import STEPS, Installation, install, installation
from labeler.order import keep_order
from labeler.prelabels import Shown, push_prelabels
from labeler.projects import (
    LostError,
    checked_name,
    ensure_project,
    follow_classes,
    known_projects,
    left_behind,
    mark_gone,
    page_is_edited,
    the_project,
)
from labeler.pull import PullReport, pull_annotations
from labeler.push import push_tasks
from labeler.reconcile import Reconciled, known_numbers, reconcile
from labeler.restore import restore
from labeler.retired import dropped_answers, take_back
from labeler.review import show_reviews
from labeler.server import USER, LocalServer
from labeler.signin import open_signed_in, session_cookie
from labeler.version import check_version
from labeler.withdraw import withdraw_tasks


@dataclass(frozen=True)
class Environment:
    """What labelling takes from the user's machine: where Label Studio is kept, and a token given by hand, if any."""

    cache: Path
    token: str | None = field(repr=False)


@dataclass(frozen=True)
class OneProject:
    """One project on the server: its name, empty for the main one, its number, and how many tasks it has."""

    name: str
    project: int
    tasks: int


@dataclass(frozen=True)
class Standing:
    """How labelling stands. `project` is the main one's number on the server, once there is one."""

    url: str
    project: int | None
    running: bool
    tasks: int
    projects: tuple[OneProject, ...] = ()
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

    def start(
        self, progress: Progress = QUIET, name: str = "", may: Permission = NEVER, *, reset_page: bool = False
    ) -> Standing:
        """Start a Label Studio of this project's own, or use the one that a token was given for; make the project.

        `name` makes a further one beside the main one. Where a project was there before and no longer is, `may` says
        whether a new one takes its place; else it raises LabelStudioError. A labelling page that a person has edited
        stays as it is, unless `reset_page` is said.
        """
        if name:
            name = checked_name(name)
        url = self.project.settings.label_studio.url
        if self.environment.token is None:
            if not is_loopback(url):
                raise LabelStudioError(f"{url} is not this machine; set CURATE_LABEL_STUDIO_TOKEN to label there")
            self._give_up_lost(may)
            program = installation(self.environment.cache)
            if not program.ready:
                _install(program, progress)
            reconcile(self.project.database, self.local)  # where a restore was cut off before it
            server = self.local.start(program, url)
            if server.url != url:
                progress.say(f"Label Studio is at {server.url}: the port of {url} was taken or has changed")
        else:
            server = self.server()
        with server:
            server.check()
            if not server.local and (newer := check_version(server)):
                progress.say(newer)
            for one in dict.fromkeys(["", name]):
                allowed = may if one == name else replace(may, given=False)
                for said in self._ensure(server, one, allowed, reset=reset_page):
                    progress.say(said)
        return self.status()

    def _give_up_lost(self, may: Permission) -> None:
        """Let go of projects on a server of ours whose data folder is gone, if that may be."""
        dataset = self.dataset()
        lost = left_behind(dataset, self.local.credentials().identity if self.local.exists else None)
        if lost:
            may.require(f"the data of the Label Studio that this dataset was labelled in, {self.local.folder}, is gone")
        for project in lost:
            mark_gone(dataset, project)

    def _ensure(self, server: Server, name: str, may: Permission, *, reset: bool) -> Iterator[str]:
        """Make a project on the server, or bring it up to date, and yield what is to be said of that."""
        dataset = self.dataset()
        try:
            project, made = ensure_project(dataset, server, name, reset_page=reset)
        except LostError as error:
            may.require(str(error), name)
            project, made = ensure_project(dataset, server, name, new=True)
        keep_order(dataset, server, project)
        if made:
            title = dataset.title + (f": {name}" if name else "")
            yield f"made the project {title!r} in Label Studio"
        elif page_is_edited(server, project):
            yield "the labelling page was edited in Label Studio: it stays as it is there"

    def stop(self) -> bool:
        """Stop the server that `start` started; tell whether it ran."""
        return self.local.stop()

    def status(self, *, show_token: bool = False) -> Standing:
        """Say where the server is, and what it holds. Asks it nothing but whether it lives."""
        if self.environment.token is None and not self.local.exists:
            return Standing(self.project.settings.label_studio.url, None, running=False, tasks=0)
        with self.server() as server:
            running = self.local.running() if server.local else _answers(server)
            with self.project.database.read() as session:
                projects = tuple(
                    OneProject(project.name, project.number, _task_count(session, project))
                    for project in known_projects(self.dataset(), server)
                )
            authorization = server.authorization() if show_token else None
        main = projects[0] if projects and not projects[0].name else None
        number, tasks = (main.project, main.tasks) if main else (None, 0)
        return Standing(server.url, number, running, tasks, projects, authorization)

    def reachable(self) -> bool:
        """Whether there is a server to talk to, as far as can be told without asking it."""
        return self.environment.token is not None or self.local.running()

    def known(self) -> list[LabellingProject]:
        """Give the projects of the server at hand, the main one first, as far as is known without asking it."""
        if self.environment.token is None and not self.local.exists:
            return []
        return known_projects(self.dataset(), self.server())

    def job_settings(self) -> dict[str, str]:
        """Give the variables by which another process of curate finds the same server."""
        token = self.environment.token
        return {"CURATE_CACHE": str(self.environment.cache)} | ({"CURATE_LABEL_STUDIO_TOKEN": token} if token else {})

    def server(self) -> Server:
        """Give the server: the one a token was given for, or else the one started here. Raises LabelStudioError."""
        token = self.environment.token
        if token is None:
            return self.local.server()
        url = self.project.settings.label_studio.url
        return Server(url=url, token=token, identity=url, local=False)

    def push(self, limit: int | None = None, name: str = "", which: Which = Which.WAITING) -> PushReport:
        """Send unlabelled keepers that have no task yet, the most wanted first, and the best run's predictions.

        They go to the main project, or to the one called `name`; `which` says which of them.
        """
        with self.server() as server, self._alone():
            dataset = self.dataset()  # not before: the classes may change while we wait
            project = the_project(dataset, server, name)
            self._follow(dataset, server, project)
            others = [other for other in known_projects(dataset, server) if other.id != project.id]
            sent = push_tasks(dataset, server, project, wanted(self.project, project, others, limit, which))
            shown = self._push_prelabels(server, dataset, project)
            with self.project.database.read() as session:
                return PushReport(sent.created, sent.found, shown, _task_count(session, project))

    def pull(self, *, accept_deletions: bool = False, full: bool = False) -> PullReport:
        """Take in what people answered since the last pull, in every project; or all there is, if `full`."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            there = self.there(dataset, server)
            report = PullReport()
            for project in there:
                more = pull_annotations(dataset, server, project, accept_deletions=accept_deletions, full=full)
                report = report.with_more(more)
            gone = {p.name for p in known_projects(dataset, server)} - {p.name for p in there}
        crowdlab.settle(self.project)
        with self.project.database.write() as session:
            follow_labels(session)
        return replace(report, projects_gone=sorted(gone))

    def follow_classes(self, progress: Progress = QUIET) -> None:
        """Let the projects in Label Studio follow a change of the classes."""
        with self.server() as server, self._alone():
            dataset = self.dataset()
            for project in self.there(dataset, server):
                self._follow(dataset, server, project, progress)
                self._push_prelabels(server, dataset, project)

    def _follow(self, dataset: Dataset, server: Server, project: LabellingProject, progress: Progress = QUIET) -> None:
        """Bring answers and page on the server up to date with the classes."""
        dropped = dropped_answers(dataset, project)
        if dropped:
            with progress.task("taking answers back", len(dropped), "answers") as task:
                take_back(dataset, server, dropped, task.advance)
        follow_classes(dataset, server, project)

    def back_up(self, file: Path | None, progress: Progress = QUIET) -> BackupReport:
        """Copy this project's Label Studio into one file, also while it runs. Raises LabelStudioError."""
        self._ours("backed up")
        name = f"label-studio-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
        if file is None or file.is_dir():
            file = (file or self.project.root / "backups") / name
        with progress.task("backing up Label Studio", None, "files") as task:
            return back_up(self.local, file, task.advance)

    def restore(self, file: Path, *, replace_work: bool) -> Reconciled:
        """Put Label Studio back from a backup; give what is here and not there. Raises LabelStudioError."""
        self._ours("restored")
        with self._alone():
            known = known_numbers(self.project.database, self.local)
            restore(self.local, file, replace_work=replace_work, known=known)
            return reconcile(self.project.database, self.local)

    def _ours(self, done: str) -> None:
        if self.environment.token is not None:
            raise LabelStudioError(
                f"Label Studio at {self.project.settings.label_studio.url} is not curate's own, and is {done} where it"
                " runs (docs/labelling.md says how); without CURATE_LABEL_STUDIO_TOKEN this project's own is meant"
            )

    def withdraw(self) -> int:
        """Delete the tasks of images that were forgotten; give their number. A push or a pull does it too."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            return sum(withdraw_tasks(dataset, server, project) for project in self.there(dataset, server))

    def push_prelabels(self, run: str) -> int:
        """Show a run's predictions on the tasks that are there; give how many were sent now."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            projects = self.there(dataset, server)
            return sum(self._push_prelabels(server, dataset, project, run) for project in projects)

    def show_reviews(self, reasons: Mapping[int, str]) -> int:
        """Show these images, and no others, in each project's view for review, with their reasons; count the tasks."""
        dataset = self.dataset()
        with self.server() as server, self._alone():
            return sum(show_reviews(dataset, server, project, reasons) for project in self.there(dataset, server))

    def open(self, name: str = "") -> str:
        """Open the project in the user's browser, signed in where the server is ours; give its address."""
        with self.server() as server:
            project = the_project(self.dataset(), server, name)
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
            old, counts = former(session), fates(session)
        # Read anew: people change classes while a long command runs.
        settings = config.load(self.project.root / config.FILE_NAME)
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
            former=old,
            fates=counts,
        )

    def _push_prelabels(
        self, server: Server, dataset: Dataset, project: LabellingProject, name: str | None = None
    ) -> int:
        run, predictions = self.shown(dataset, name)
        return 0 if run is None else push_prelabels(dataset, server, project, run, predictions)

    def shown(self, dataset: Dataset, name: str | None = None) -> tuple[Run | None, dict[int, Shown]]:
        """Give the best run, or the one called `name`, and what people are to see of its predictions."""
        with self.project.database.read() as session:
            classes = list(dataset.classes)
            run = runs.telling(session, classes) if name is None else runs.choose(session, name, classes)
            return run, {} if run is None else _shown(session, run, self.project.settings)

    def there(self, dataset: Dataset, server: Server) -> list[LabellingProject]:
        """All projects; further ones that were deleted on the server are left out. Raises LabelStudioError."""
        main = the_project(dataset, server)
        projects = known_projects(dataset, server)
        return [p for p in projects if p.id == main.id or server.project_exists(p.number)]

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
    """A run's predictions for what is unlabelled."""
    return shown(session, run, [image.id for image in unlabelled(session)], settings)


def shown(session: Session, run: Run, images: Sequence[int], settings: Settings) -> dict[int, Shown]:
    """Give what a run said of these images, by id, as people see it: a share of it is to be kept from them."""
    checks = set(session.scalars(select(Review.image_id).where(Review.reason == ReviewReason.CHECK)))
    found: dict[int, Shown] = {}
    names = runs.names_now(session, run)
    for ids in chunks(images):
        columns = select(Prediction.image_id, Prediction.class_index, Prediction.score)
        rows = session.execute(columns.where(Prediction.run_id == run.id, Prediction.image_id.in_(ids)))
        for image_id, index, score in rows:
            # Whoever is to check what a run said must not be told it.
            hidden = image_id in checks or falls_within(image_id, settings.labelling.hidden, settings)
            label = names[index]
            if label is not None:  # else the page has no choice for it
                found[image_id] = Shown(label, score, hidden)
    return found
