"""The server that Label Studio calls: who is let in, what is too much, and what a model's routes answer."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from curate.project import Project
from db.models import Image, ImageState, LabellingProject, LabellingTask
from labeler import backend as backends
from labeler import live
from labeler.backend import Answers, Backend
from labeler.hooks import HEADER
from labeler.live import Door, LiveServer
from labeler.prelabels import Shown
from tests.labelstudio import fill

SECRET = "a5ec2e7" * 6
TOKEN = "5ec2e7" * 6 + "beef"


@dataclass
class Model:
    """Says Red of everything, and remembers what it was asked."""

    name: str = "run-1"
    asked: list[Sequence[int]] = field(default_factory=list)
    hold: threading.Event | None = None
    at_it: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def version(self) -> str:
        """Name of what answers."""
        return self.name

    def versions(self) -> list[str]:
        """All that could answer."""
        return ["run-0", self.name]

    def answer(self, images: Sequence[int]) -> Answers:
        """Say Red."""
        self.asked.append(images)
        self.at_it.release()
        if self.hold is not None:
            self.hold.wait(30)
        return Answers(self.name, {image: Shown("Red", 0.25) for image in images})


@dataclass
class Live:
    """A running server, what it was told, and its model."""

    url: str
    model: Model
    server: LiveServer
    changes: list[str]

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        """Ask it something, with the secret unless other headers are given."""
        options.setdefault("headers", {HEADER: SECRET})
        return httpx.request(method, self.url + path, trust_env=False, timeout=60, **options)

    def predict(self, *data: object) -> list[Any]:
        """Predict tasks with this data."""
        answer = self.call("POST", "/predict", json={"tasks": [{"id": 1, "data": d} for d in data]})
        assert answer.status_code == 200, answer.text
        results: list[Any] = answer.json()["results"]
        return results


@pytest.fixture
def stored(project: Project, tmp_path: Path) -> list[int]:
    """Three images; the second has a task."""
    fill(project, tmp_path / "in", 3)
    with project.database.write() as session:
        images = list(session.scalars(select(Image.id).order_by(Image.id)))
        there = LabellingProject(server="x", number=1, title="t", config_sha256="0")
        session.add(there)
        session.flush()
        session.add(LabellingTask(project_id=there.id, image_id=images[1], number=7, data_url="/data/two.jpg"))
    return images


@pytest.fixture
def running(project: Project) -> Iterator[Live]:
    """A server of this project."""
    model, changes = Model(), []
    behind = Door(
        SECRET, Backend(project.database, model), lambda: changes.append("changed"), lambda: changes.append("train")
    )
    with LiveServer("127.0.0.1", 0, behind) as server:
        yield Live(server.url("http://127.0.0.1:1"), model, server, changes)


def basic(user: str, password: str) -> dict[str, str]:
    """Headers of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ROUTES = [("GET", "/health"), ("GET", "/versions"), ("POST", "/setup"), ("POST", "/predict"), ("POST", "/webhook")]
STRANGERS: list[dict[str, str]] = [
    {},
    {HEADER: ""},
    {HEADER: SECRET[:-1]},
    {HEADER: SECRET + "x"},
    {HEADER: "caf\u00e9".encode().decode("latin-1")},
    basic("curate", "guessed"),
    basic(SECRET, ""),
    {"Authorization": f"Token {SECRET}"},
    {"Authorization": "Basic !!!"},
    {"Authorization": f"Bearer {SECRET}"},
]


def test_strangers_are_sent_away(running: Live) -> None:
    """Without the secret every route is a 401, and nothing is heard or predicted."""
    body = json.dumps({"action": "ANNOTATION_CREATED", "tasks": []}).encode()
    for (method, path), given in product(ROUTES, STRANGERS):
        headers = {name: value.encode("latin-1") for name, value in given.items()}
        answer = running.call(method, path, content=body, headers=headers)
        assert answer.status_code == 401, given
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    huge = running.call("POST", "/webhook", content=b" " * 2_000_000, headers={})
    assert huge.status_code == 401
    assert running.changes == []
    assert running.model.asked == []


def test_the_secret_opens_by_header_and_as_a_password(running: Live) -> None:
    """A webhook carries it in a header; Label Studio gives it to a model as the password of any user."""
    for headers in ({HEADER: SECRET}, basic("curate", SECRET), basic("", SECRET)):
        assert running.call("GET", "/health", headers=headers).json()["status"] == "UP"


NONSENSE: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/webhook", {"content": b"{"}, 400),
    ("POST", "/webhook", {"content": b"\xff\xfe"}, 400),
    ("POST", "/webhook", {"content": b"[" * 100_000}, 400),
    ("POST", "/webhook", {"json": ["ANNOTATION_CREATED"]}, 400),
    ("POST", "/webhook", {"json": {"action": 3}}, 400),
    ("POST", "/webhook", {"content": b""}, 400),
    ("POST", "/predict", {"content": b"null"}, 400),
    ("POST", "/predict", {"json": {"tasks": "all"}}, 400),
    ("POST", "/predict", {"json": {"tasks": [1]}}, 400),
    ("POST", "/predict", {"json": {"tasks": [{}] * (backends.MOST_TASKS + 1)}}, 413),
    ("POST", "/predict", {"content": iter([b'{"tasks": []}'])}, 411),  # chunked: without an end that is known
    ("GET", "/", {}, 404),
    ("GET", "/healthy", {}, 404),
    ("GET", "/predict", {}, 404),
    ("POST", "/health", {"json": {}}, 404),
    ("PUT", "/webhook", {"json": {}}, 501),
]


def test_what_makes_no_sense_is_refused(running: Live) -> None:
    """Malformed, oversized or asked in the wrong place: a status says so, and nothing else happens."""
    for method, path, options, status in NONSENSE:
        assert running.call(method, path, **options).status_code == status, (method, path)
    assert running.changes == []
    assert running.model.asked == []
    assert running.call("GET", "/health").status_code == 200


def test_a_huge_webhook_is_not_read_but_heard(running: Live) -> None:
    """It carries the secret, so something changed; its body, which nobody needs, is refused by its length."""
    answer = running.call("POST", "/webhook", content=b" " * (live.LARGEST_HINT + 1))
    assert answer.status_code == 413
    assert running.changes == ["changed"]


def test_a_length_that_is_none_is_refused(running: Live) -> None:
    """What is no number of bytes is a 411, and does not make the server wait."""
    for length in ("-1", "x", "1e3", "\u0663", "9" * 30, ""):
        head = f"POST /webhook HTTP/1.1\r\n{HEADER}: {SECRET}\r\nContent-Length: {length}\r\n\r\n"
        assert raw(running, head.encode()).split()[1] == b"411", length


def raw(running: Live, sent: bytes) -> bytes:
    """Send bytes and nothing more, and give the answer."""
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=30) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def test_a_body_that_ends_too_soon_is_refused(running: Live) -> None:
    """Half a webhook is none."""
    head = f'POST /webhook HTTP/1.1\r\n{HEADER}: {SECRET}\r\nContent-Length: 99\r\n\r\n{{"action": "A"}}'
    assert raw(running, head.encode()).split()[1] == b"400"
    assert running.changes == []


def test_whoever_drips_is_cut_off(running: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that does not arrive is ended by the server, though each of its bytes comes in time."""
    monkeypatch.setattr(live, "_ARRIVAL_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=0.05) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe|ended"):
            drip(connection)


def drip(connection: socket.socket) -> None:
    """Send a header byte by byte, for ever, until the other side has had enough."""
    while True:
        connection.sendall(b"X")
        try:
            if not connection.recv(1):
                raise OSError("ended")
        except TimeoutError:
            continue


def test_only_so_many_connections_are_held(running: Live) -> None:
    """Those beyond the room there is are closed unheard; once there is room again, answers come."""
    held = [socket.create_connection(("127.0.0.1", running.server.port), timeout=30) for _ in range(live._CONNECTIONS)]
    until(lambda: running.server._server._room._value == 0)
    with pytest.raises(httpx.TransportError):
        running.call("GET", "/health")
    for connection in held:
        connection.close()
    until(lambda: running.server._server._room._value == live._CONNECTIONS)
    assert running.call("GET", "/health").status_code == 200


def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_webhooks_only_say_that_something_changed(running: Live) -> None:
    """In any order and however often they come, each is one word; "Start training" is another."""
    for action in ("ANNOTATIONS_DELETED", "ANNOTATION_CREATED", "ANNOTATION_CREATED", "whatever"):
        assert running.call("POST", "/webhook", json={"action": action, "annotation": {"id": 9}}).status_code == 200
    assert running.changes == ["changed"] * 4
    body = {"action": "START_TRAINING", "project": {"id": 1}}
    assert running.call("POST", "/webhook", json=body, headers=basic("curate", SECRET)).status_code == 200
    assert running.changes[4:] == ["train"]


def test_setup_names_the_run_and_keeps_the_token_to_itself(
    running: Live, project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """The access token that Label Studio sends along is in no answer, no file and nothing printed."""
    body = {"project": "1.179", "schema": "<View/>", "hostname": "http://h", "access_token": TOKEN}
    answer = running.call("POST", "/setup", json=body, headers=basic("curate", SECRET))
    assert answer.json() == {"model_version": "run-1"}
    assert running.call("GET", "/versions").json() == {"versions": ["run-0", "run-1"]}
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert not [p for p in project.root.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]


def expected(label: str = "Red") -> list[dict[str, Any]]:
    """The one prediction of a task."""
    value = {"choices": [label]}
    result = [{"from_name": "class", "to_name": "image", "type": "choices", "value": value}]
    return [{"result": result, "score": 0.25, "model_version": "run-1"}]


def test_images_are_found_by_id_and_by_our_address(running: Live, stored: list[int]) -> None:
    """Every task has its place in the answer; the model is asked once, for each image once."""
    first, second, _ = stored
    answers = running.predict({"image_id": first}, {"image": "/data/two.jpg"}, {"image_id": first, "image": "x"})
    assert answers == [expected()] * 3
    assert running.model.asked == [[first, second]]


def test_a_strange_id_does_not_hide_a_known_address(running: Live, stored: list[int]) -> None:
    """A task made by hand from our address is ours."""
    assert running.predict({"image_id": "seven", "image": "/data/two.jpg"}) == [expected()]
    assert running.model.asked == [[stored[1]]]


STRANGE: list[object] = [
    {},
    None,
    [],
    {"image": "http://127.0.0.1:1/x.jpg"},
    {"image": "file:///etc/passwd"},
    {"image": "../../etc/passwd"},
    {"image": ["/data/two.jpg"]},
    {"image_id": 999},
    {"image_id": -1},
    {"image_id": True},
    {"image_id": 2**80},
    {"image_id": 1.0},
    {"image_id": "1"},
    {"image_id": [1]},
    {"image_id": {"a": 1}},
]


def test_what_shows_no_image_of_ours_is_not_looked_at(running: Live, stored: list[int]) -> None:
    """No address of a request is opened; such a task gets no prediction, and its neighbours keep their places."""
    for data in STRANGE:
        assert running.predict({"image_id": stored[0]}, data, {"image_id": stored[2]}) == [expected(), [], expected()]
    assert running.model.asked == [[stored[0], stored[2]]] * len(STRANGE)


def test_forgotten_images_are_not_predicted(running: Live, project: Project, stored: list[int]) -> None:
    """What was taken out for good is not shown by the back door."""
    with project.database.write() as session:
        session.get_one(Image, stored[1]).state = ImageState.FORGOTTEN
    assert running.predict({"image_id": stored[1]}, {"image": "/data/two.jpg"}) == [[], []]


def test_a_model_that_fails_is_told(running: Live, stored: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Label Studio gets a 500 with the reason; the server goes on."""

    def fail(_: Sequence[int]) -> Answers:
        raise RuntimeError("no such weights")

    monkeypatch.setattr(running.model, "answer", fail)
    answer = running.call("POST", "/predict", json={"tasks": [{"data": {"image_id": stored[0]}}]})
    assert (answer.status_code, answer.json()["error"]) == (500, "RuntimeError: no such weights")
    assert running.call("GET", "/health").status_code == 200


def test_only_so_many_predictions_are_computed_at_once(
    running: Live, stored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds no room after a while is told to come again; hints are heard meanwhile."""
    monkeypatch.setattr(backends, "_WAIT_SECONDS", 0.05)
    running.model.hold = threading.Event()
    answers: list[int] = []

    def ask() -> None:
        tasks = [{"data": {"image_id": stored[0]}}]
        answers.append(running.call("POST", "/predict", json={"tasks": tasks}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(backends._AT_ONCE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        running.model.at_it.acquire()
    ask()
    assert answers == [503]
    assert running.call("POST", "/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 200
    running.model.hold.set()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 200, 503]


@pytest.mark.parametrize(
    ("host", "seen"),
    [("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")],  # noqa: S104
)
def test_its_address_is_one_that_label_studio_can_call(project: Project, host: str, seen: str) -> None:
    """Where it listens everywhere, its address is that of the way to Label Studio."""
    door = Door(SECRET, Backend(project.database, Model()), lambda: None, lambda: None)
    with LiveServer(host, 0, door) as server:
        url = server.url("http://127.0.0.1:8080")
        assert url == f"http://{seen}:{server.port}"
        assert httpx.get(f"{url}/health", headers={HEADER: SECRET}, trust_env=False).status_code == 200


def test_a_taken_port_is_said(running: Live) -> None:
    """Two servers at one address do not share it silently."""
    behind: Callable[[], None] = lambda: None  # noqa: E731 - nothing to hear
    door = Door(SECRET, Backend(None, running.model), behind, behind)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="in use"):
        LiveServer("127.0.0.1", running.server.port, door)
