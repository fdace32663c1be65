"""A real Label Studio for the tests, and what people do in it."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from curate import project as projects
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.project import Project
from curate.studio import Environment
from db.labels import keeper_labels
from db.models import (
    Annotation,
    AnnotationState,
    Base,
    Image,
    LabellingProject,
    LabellingTask,
    Prediction,
    Run,
    RunState,
    Snapshot,
)
from labeler.install import installation
from labeler.server import LocalServer
from tests import prepare
from tests.environment import clean_env
from tests.forks import COMMANDS
from tests.pictures import jpeg


@dataclass(frozen=True)
class Studio:
    """A running server, and a person who is signed in to it."""

    url: str
    token: str
    http: httpx.Client

    def ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - JSON
        """Do something by the API, as the page would."""
        answer = self.http.request(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks of a project, with everything in them, in the order in which they were made."""
        found = self.ask("GET", "/api/tasks", params={"project": project, "page_size": 500, "fields": "all"})
        return sorted(found["tasks"], key=lambda task: int(task["id"]))

    def annotate(self, task: int, *choices: str, **more: Any) -> int:  # noqa: ANN401 - the API's fields
        """Answer a task; without a choice the answer is empty."""
        body = {"result": result(*choices), "lead_time": 1.5, **more}
        return int(self.ask("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def edit(self, annotation: int, *choices: str) -> None:
        """Change an answer."""
        self.ask("PATCH", f"/api/annotations/{annotation}/", json={"result": result(*choices)})

    def delete(self, what: str, number: int) -> None:
        """Delete an annotation, a task or a project."""
        self.ask("DELETE", f"/api/{what}/{number}/")

    def delete_all(self, project: int, action: str) -> None:
        """Choose everything in the project's table, and an action from its menu."""
        body = {"selectedItems": {"all": True, "excluded": []}, "project": str(project), "ordering": []}
        self.ask("POST", f"/api/dm/actions?id={action}&project={project}", json=body)


def result(*choices: str) -> list[dict[str, Any]]:
    """What the page sends for a choice."""
    if not choices:
        return []
    return [{"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}]


@dataclass(frozen=True)
class Desk:
    """One dataset being labelled on the shared server."""

    project: Project
    labelling: Labelling
    studio: Studio

    @property
    def number(self) -> int:
        """The project's number on the server."""
        return self.labelling.known()[0].number

    @property
    def root(self) -> Path:
        """The project folder."""
        return self.project.root

    @property
    def env(self) -> dict[str, str]:
        """What a person would set to use this server from the command line."""
        return {"CURATE_LABEL_STUDIO_TOKEN": self.studio.token}

    def remote(self) -> list[dict[str, Any]]:
        """The tasks on the server."""
        return self.studio.tasks(self.number)

    def task(self, place: int = 0) -> int:
        """Number of the task made `place`-th."""
        return int(self.remote()[place]["id"])

    def labels(self) -> dict[int, str]:
        """The class that each image counts with."""
        with self.project.database.read() as session:
            names = {number: name for name, number in self.project.classes(session).items()}
            return {
                label.keeper_id: names[label.class_id] for label in keeper_labels(session) if label.class_id is not None
            }

    def annotations(self) -> list[Annotation]:
        """All answers on record, each with its history, in the order in which they came."""
        with self.project.database.read() as session:
            found = list(session.scalars(select(Annotation).order_by(Annotation.id)))
            for annotation in found:
                list(annotation.revisions)
            session.expunge_all()
        return found

    def states(self) -> list[AnnotationState]:
        """How each answer stands."""
        return [annotation.state for annotation in self.annotations()]

    def image_of(self, task: int) -> int:
        """The image that a task shows."""
        with self.project.database.read() as session:
            return session.scalars(select(LabellingTask.image_id).where(LabellingTask.number == task)).one()

    def counts(self) -> dict[str, int]:
        """Rows of every table."""
        with self.project.database.read() as session:
            tables = Base.metadata.sorted_tables
            return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}

    def predict(self, name: str, *answers: tuple[int, str, float]) -> None:
        """Let a finished run have said of each image its class and how sure it is."""
        with self.project.database.write() as session:
            classes = list(self.project.classes(session))
            snapshot = Snapshot(content_sha256="0" * 64, seed=1, target=2, validation=1, classes=classes)
            session.add(snapshot)
            session.flush()
            run = Run(
                name=name,
                snapshot_id=snapshot.id,
                state=RunState.FINISHED,
                arch="small",
                options={},
                classes=classes,
                validation_accuracy=0.5,
                validation_images=4,
            )
            session.add(run)
            session.flush()
            session.add_all(
                Prediction(
                    run_id=run.id,
                    image_id=image,
                    class_index=classes.index(label),
                    score=score,
                    outside=False,
                    probabilities=[],
                )
                for image, label, score in answers
            )

    def images(self) -> list[int]:
        """Numbers of all images."""
        with self.project.database.read() as session:
            return list(session.scalars(select(Image.id).order_by(Image.id)))

    def note_project_number(self, number: int) -> None:
        """Let the dataset believe that its project on the server has this number."""
        with self.project.database.write() as session:
            session.scalars(select(LabellingProject)).one().number = number


MakeDesk = Callable[..., Desk]


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One Label Studio for all tests that use it as a server of the user's own: by a token."""
    folder = tmp_path_factory.mktemp("studio") / "project"
    projects.create(folder, None, ("Red", "Green")).database.close()
    with started(folder) as local, person(local) as found:
        yield found


@contextmanager
def person(local: LocalServer) -> Iterator[Studio]:
    """A person at work on this server."""
    kept = local.server()
    headers = {"Authorization": f"Token {kept.token}"}
    with httpx.Client(base_url=kept.url, headers=headers, timeout=60, trust_env=False) as http:
        yield Studio(kept.url, kept.token, http)


PASSWORD = "correct horse battery"  # noqa: S105 - of people who exist for a test
"""Of colleagues."""


@contextmanager
def colleague(studio: Studio, email: str) -> Iterator[Studio]:
    """Another person, who has signed up by the invitation that the first may send."""
    link = studio.ask("GET", "/api/invite")["invite_url"]
    with httpx.Client(base_url=studio.url, timeout=60, trust_env=False) as http:
        http.get(link)
        form = {
            "csrfmiddlewaretoken": http.cookies["csrftoken"],
            "email": email,
            "password": PASSWORD,
            "allow_newsletters": "false",
        }
        http.post(link, data=form, headers={"Referer": studio.url})
        token = http.get("/api/current-user/token").json()["token"]
    headers = {"Authorization": f"Token {token}"}
    with httpx.Client(base_url=studio.url, headers=headers, timeout=60, trust_env=False) as http:
        yield Studio(studio.url, token, http)


@contextmanager
def started(folder: Path) -> Iterator[LocalServer]:
    """A project's own server, started as a person does it, and stopped whatever happens."""
    if not installation(prepare.cache()).ready:
        pytest.fail("Label Studio is not installed for the tests: run `python -m tests.prepare` first")
    set_url(folder, f"http://127.0.0.1:{free_port()}")
    local = LocalServer(folder / ".curate" / "label-studio", folder)
    try:
        label(folder, "start")
        yield local
    finally:
        local.stop()


def label(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a `curate label` command that must succeed, and give its JSON."""
    command = ["label", *arguments, "--project", str(folder), "--json"]
    done = COMMANDS.run(command, folder, clean_env() | (env or {}))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def set_url(folder: Path, url: str) -> None:
    """Let a project's settings name this server."""
    file = folder / "curate.toml"
    text = file.read_text().partition("\n[label_studio]")[0]
    file.write_text(f'{text}\n[label_studio]\nurl = "{url}"\n')


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unchecked(folder: Path, classes: Sequence[str]) -> Project:
    """A project in `folder` that takes pictures however small and smooth, and shows every pre-label."""
    projects.create(folder, None, classes).database.close()
    set_value(folder / "curate.toml", "quality.enabled", "false")
    set_value(folder / "curate.toml", "labelling.hidden", "0")
    return projects.open_project(folder)


def fill(project: Project, folder: Path, count: int, size: tuple[int, int] = (120, 90)) -> None:
    """Put `count` pictures that nobody has labelled into a project."""
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed, size))
    assert import_folder(project, folder, labels=False).stored == count


@pytest.fixture
def make_desk(make_project: Callable[..., Project], studio: Studio, tmp_path: Path) -> MakeDesk:
    """Make datasets with some pictures, labelled on the shared server; nothing is pushed yet."""

    def make(count: int, *classes: str, name: str = "project", start: bool = True) -> Desk:
        project = make_project(*classes, name=name, label_studio__url=f'"{studio.url}"')
        fill(project, tmp_path / f"{name}-in", count)
        desk = Desk(project, Labelling(project, Environment(prepare.cache(), studio.token)), studio)
        if start:
            desk.labelling.start()
        return desk

    return make
