"""Labelling as the commands see it: which server, which project, and what goes to and fro."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate import runs
from curate.handout import Which, wanted
from curate.people import crowdlab
from curate.permission import NEVER, Permission
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.quality.apply import follow_labels
from curate.select import unlabelled_ids
from curate.showing import shown
from curate.studio import Environment, OneProject, Standing, Studio
from db.errors import LabelStudioError
from db.models import LabellingProject, LabellingTask, Run, TaskState
from labeler.client import Server, is_loopback
from labeler.dataset import Dataset
from labeler.moved import elsewhere, is_here, take_along
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
from labeler.reconcile import reconcile
from labeler.retired import dropped_answers, take_back
from labeler.review import show_reviews
from labeler.server import USER
from labeler.signin import open_signed_in, session_cookie
from labeler.version import check_version
from labeler.withdraw import withdraw_tasks


@dataclass(frozen=True)
class PushReport:
    """Tasks made, tasks that had pre-labels sent, and all tasks there now."""

    created: int
    found: int
    prelabelled: int
    tasks: int


class Labelling(Studio):
    """One project's labelling: what goes to and fro."""

    def __init__(self, project: Project, environment: Environment) -> None:
        super().__init__(project, environment)
        self._settled: dict[int, int] = {}
        self._weighed = False

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
            program = self.installed(progress)
            reconcile(self.project.database, self.local)  # where a restore was cut off before it
            ran = self.local.lives()
            server = self.local.start(program, url)
            if server.url != url and not ran:
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
        yield from _moved(dataset, server, name, may)
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
            yield (
                "the labelling page was edited in Label Studio, or came back from a backup: it stays as it is there;"
                " `curate label start --reset-page` puts curate's own in its place"
            )

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

    def push(
        self, limit: int | None = None, name: str = "", which: Which = Which.WAITING, progress: Progress = QUIET
    ) -> PushReport:
        """Send unlabelled keepers that have no task yet, the most wanted first, and the best run's predictions.

        They go to the main project, or to the one called `name`; `which` says which of them.
        """
        with self.server() as server, self.alone():
            dataset = self.dataset()  # not before: the classes may change while we wait
            project = the_project(dataset, server, name)
            self._follow(dataset, server, project)
            keep_order(dataset, server, project)
            others = [other for other in known_projects(dataset, server) if other.id != project.id]
            choices = wanted(self.project, project, others, limit, which, progress)
            control = {choice.id for choice in choices if choice.control}
            with progress.task("sending pictures", len(choices), "tasks") as task:
                sent = push_tasks(dataset, server, project, [choice.id for choice in choices], control, task.advance)
            shown = self._push_prelabels(server, dataset, project, progress=progress)
            with self.project.database.read() as session:
                return PushReport(sent.created, sent.found, shown, _task_count(session, project))

    def pull(self, *, accept_deletions: bool = False, full: bool = False, progress: Progress = QUIET) -> PullReport:
        """Take in what people answered since the last pull, in every project; or all there is, if `full`."""
        dataset = self.dataset()
        with self.server() as server, self.alone():
            there = self.there(dataset, server)
            report = PullReport()
            with progress.task("reading answers", None, "tasks") as task:
                for project in there:
                    more = pull_annotations(
                        dataset,
                        server,
                        project,
                        accept_deletions=accept_deletions,
                        full=full,
                        settled=self._settled,
                        advance=task.advance,
                    )
                    report = report.with_more(more)
            gone = {p.name for p in known_projects(dataset, server)} - {p.name for p in there}
        if report.annotations or not self._weighed:  # the first time, too: a pull before may have been cut off here
            crowdlab.settle(self.project)
            self._weighed = True
        with self.project.database.write() as session:
            follow_labels(session)
        return replace(report, projects_gone=sorted(gone))

    def follow_classes(self, progress: Progress = QUIET) -> None:
        """Let the projects in Label Studio follow a change of the classes."""
        with self.server() as server, self.alone():
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

    def withdraw(self) -> int:
        """Take forgotten images out of Label Studio: delete their tasks, and draw pages without them.

        Gives the number of tasks. A push does it too, and a pull what regards the tasks.
        """
        with self.server() as server, self.alone():
            dataset = self.dataset()
            there = self.there(dataset, server)
            deleted = sum(withdraw_tasks(dataset, server, project) for project in there)
            for project in there:
                follow_classes(dataset, server, project)
            return deleted

    def push_prelabels(self, run: str, progress: Progress = QUIET) -> int:
        """Show a run's predictions on the tasks that are there; give how many were sent now."""
        dataset = self.dataset()
        with self.server() as server, self.alone():
            there = self.there(dataset, server)
            return sum(self._push_prelabels(server, dataset, project, run, progress) for project in there)

    def show_reviews(self, reasons: Mapping[int, str]) -> int:
        """Show these images, and no others, in each project's view for review, with their reasons; count the tasks."""
        dataset = self.dataset()
        with self.server() as server, self.alone():
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

    def _push_prelabels(
        self,
        server: Server,
        dataset: Dataset,
        project: LabellingProject,
        name: str | None = None,
        progress: Progress = QUIET,
    ) -> int:
        run, predictions = self.shown(dataset, name)
        if run is None:
            return 0
        with progress.task("sending pre-labels", None, "pre-labels") as task:
            return push_prelabels(dataset, server, project, run, predictions, task.advance)

    def shown(self, dataset: Dataset, name: str | None = None) -> tuple[Run | None, dict[int, Shown]]:
        """Give the best run, or the one called `name`, and what people are to see of its predictions."""
        with self.project.database.read() as session:
            classes = list(dataset.classes)
            run = runs.telling(session, classes) if name is None else runs.choose(session, name, classes)
            if run is None:
                return None, {}
            return run, shown(session, run, unlabelled_ids(session), self.project.settings)


def _moved(dataset: Dataset, server: Server, name: str, may: Permission) -> Iterator[str]:
    """Go on with a project that was made at another address of this server; if it is another server, `may` says."""
    away = elsewhere(dataset, server, name)
    here = next((project for project in away if is_here(dataset, server, project)), None)
    if here is not None:
        take_along(dataset, server, here.server)
        yield f"project {here.number}, made at {here.server}, goes on at {server.url}: it is the same Label Studio"
    elif away:
        made = f"project {away[0].number}, in which this dataset is labelled at {away[0].server}"
        may.require(f"the Label Studio at {server.url} does not have {made}", name)


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
