"""The Label Studio that a dataset is labelled in, and its projects there.

It is one of the dataset's own on this machine, or one that a token was given for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from curate import config
from curate.people.examples import examples, forgotten
from curate.progress import QUIET, Progress
from curate.project import Project
from db.classes import fates, former
from db.errors import LabelStudioError
from db.models import LabellingProject
from labeler.backup import BackupReport, back_up
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.install import STEPS, Installation, install, installation
from labeler.projects import known_projects, the_project
from labeler.reconcile import Reconciled, known_numbers, reconcile
from labeler.restore import restore
from labeler.server import LocalServer


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


class Studio:
    """One project's way to its server, and to what it has there."""

    def __init__(self, project: Project, environment: Environment) -> None:
        self.project = project
        self.environment = environment
        self.local = LocalServer(project.private / "label-studio", project.root)

    def stop(self) -> bool:
        """Stop the server that `start` started; tell whether it ran."""
        return self.local.stop()

    def reachable(self) -> bool:
        """Whether there is a server to talk to, as far as can be told without asking it."""
        return self.environment.token is not None or self.local.running()

    def require(self) -> None:
        """Raise LabelStudioError unless a server answers: before long work whose end is to be sent there."""
        with self.server() as server:
            server.check()

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

    def installed(self, progress: Progress) -> Installation:
        """Give Label Studio's program, installed now if it was not before."""
        found = installation(self.environment.cache)
        if not found.ready:
            _install(found, progress)
        return found

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
        with self.alone():
            known = known_numbers(self.project.database, self.local)
            restore(self.local, file, replace_work=replace_work, known=known)
            return reconcile(self.project.database, self.local)

    def known(self) -> list[LabellingProject]:
        """Give the projects of the server at hand, the main one first, as far as is known without asking it."""
        there = self.environment.token is not None or self.local.exists
        return known_projects(self.dataset(), self.server()) if there else []

    def there(self, dataset: Dataset, server: Server) -> list[LabellingProject]:
        """All projects; further ones that were deleted on the server are left out. Raises LabelStudioError."""
        main = the_project(dataset, server)
        projects = known_projects(dataset, server)
        return [p for p in projects if p.id == main.id or server.project_exists(p.number)]

    def dataset(self) -> Dataset:
        """Give what the labeler needs of this project."""
        # Read anew: people change classes while a long command runs.
        settings = config.load(self.project.root / config.FILE_NAME)
        with self.project.database.read() as session:
            classes = self.project.classes(session)
            old, counts = former(session), fates(session)
            gone = forgotten(session, settings)
        return Dataset(
            title=settings.dataset.name,
            root=self.project.root,
            database=self.project.database,
            store=self.project.store,
            classes=classes,
            hotkeys=settings.hotkeys(),
            examples=lambda: examples(self.project),
            forgotten=bool(gone),
            overlap=settings.labelling.overlap,
            overlap_share=settings.labelling.overlap_share,
            former=old,
            fates=counts,
        )

    def _ours(self, done: str) -> None:
        if self.environment.token is not None:
            raise LabelStudioError(
                f"Label Studio at {self.project.settings.label_studio.url} is not curate's own, and is {done} where it"
                " runs (docs/labelling.md says how); without CURATE_LABEL_STUDIO_TOKEN this project's own is meant"
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
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
