"""`curate label watch` on the real server: labels come in, the queue stays filled, and nothing that happens ends it."""

import json
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import httpx
import pytest

from curate.edit import set_value
from curate.live.pulse import POLL_SECONDS, QUIET_SECONDS, Pulse
from curate.loop import loop
from db.errors import DatasetError
from labeler.hooks import HEADER
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk
from tests.relay import relay
from tests.test_labelstudio_faults import at
from tests.watching import Watching, hooks, watching


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """Ten images that nobody has labelled."""
    return make_desk(10, "Red", "Green")


def test_a_label_is_taken_in_as_it_is_made(desk: Desk) -> None:
    """The webhook wakes the watch; afterwards the project has no webhook of ours, and the JSON says what came."""
    with watching(desk, "--batch", "4") as watch:
        watch.until(lambda: len(desk.remote()) == 4)
        (hook,) = hooks(desk)
        assert hook["url"] == f"{watch.url}/webhook"
        assert hook["headers"] == {HEADER: watch.credentials["secret"]}
        assert not hook["send_payload"]
        annotation = desk.studio.annotate(desk.task(), "Red")
        watch.until(lambda: list(desk.labels().values()) == ["Red"])
        desk.studio.edit(annotation, "Green")
        watch.until(lambda: list(desk.labels().values()) == ["Green"])
        desk.studio.delete("annotations", annotation)
        watch.until(lambda: desk.labels() == {})
        ended = watch.end()
        assert hooks(desk) == []
        assert watch.credentials["secret"] not in ended.err + ended.out
        assert desk.studio.token not in ended.err + ended.out
    assert ended.code == 130
    assert ended.json["pulled"] == 3
    assert ended.json["pushed"] == 4
    assert ended.json["hints"] >= 3
    assert ended.json["trained"] == ended.json["failed"] == []


def labelled(desk: Desk, count: int) -> bool:
    """Whether so many images have a label."""
    return len(desk.labels()) == count


def test_a_webhook_that_was_taken_out_is_put_back(desk: Desk) -> None:
    """Looking finds labels all the same, a little later; that no hint told of them is noticed, and mended."""
    with watching(desk) as watch:
        watch.until(lambda: len(desk.remote()) == 10)
        desk.studio.delete("webhooks", hooks(desk)[0]["id"])
        for place, label in enumerate(("Red", "Green")):
            desk.studio.annotate(desk.task(place), label)
            watch.until(partial(labelled, desk, place + 1))
        watch.until(lambda: len(hooks(desk)) == 1)
        desk.studio.annotate(desk.task(2), "Red")
        watch.until(partial(labelled, desk, 3))
        assert watch.end().json["hints"] == 1


def test_hints_that_never_come_are_noticed() -> None:
    """Twice in a row answers that no hint told of; what was there at the start, and what is told of, does not count."""
    pulse, deaf = Pulse(), []
    for answers, hinted in ((50, False), (1, False), (1, True), (1, False), (0, False), (1, False)):
        pulse.beat(answers, hinted=hinted, took=0.1)
        deaf.append(pulse.deaf)
    pulse.forgive()
    deaf.append(pulse.deaf)
    assert deaf == [False, False, False, False, False, True, False]


def test_looks_are_as_far_apart_as_hints_allow() -> None:
    """Soon where hints do not come, at a rest where they do, again at once after one that nothing was found for."""
    pulse = Pulse()
    pulse.beat(0, hinted=False, took=0.1)
    assert pulse.pause() == POLL_SECONDS
    pulse.beat(0, hinted=True, took=0.1)
    assert pulse.pause() < POLL_SECONDS
    pulse.beat(0, hinted=False, took=0.1)
    assert pulse.pause() == QUIET_SECONDS
    pulse.beat(0, hinted=False, took=20.0)
    assert pulse.pause() == 200.0  # a large project is not asked all the time


def test_a_server_that_may_not_call_us_is_looked_at(make_desk: MakeDesk) -> None:
    """Where Label Studio refuses the webhook's address, that is said once, and labels come in by looking."""
    made = make_desk(10, "Red", "Green", start=False)
    with relay(made.studio.url) as between:
        between.faults["POST", "/webhooks/"] = 403
        desk = at(made, between.url)
        with watching(desk) as watch:
            assert "will not call http://127.0.0.1:" in watch.until_said("labels are looked for every")
            watch.until(lambda: len(desk.remote()) == 10)
            desk.studio.annotate(desk.remote()[0]["id"], "Red")
            watch.until(lambda: list(desk.labels().values()) == ["Red"])
            assert len(watch.said("labels are looked for every")) == 1
            assert watch.end().code == 130
        desk.project.database.close()


def test_further_projects_are_watched_too(desk: Desk, cli: Cli) -> None:
    """Answers of every project of the dataset come in by its own webhook, and all are gone at the end."""
    cli("label", "start", "--project-name", "second", "--project", desk.root, env=desk.env, check=True)
    numbers = [project.number for project in desk.labelling.known()]
    desk.labelling.push(4, "second")
    with watching(desk) as watch:
        watch.until(lambda: len(desk.studio.tasks(numbers[0])) == 6)
        desk.studio.annotate(desk.studio.tasks(numbers[1])[0]["id"], "Red")
        watch.until(partial(labelled, desk, 1))
        ended = watch.end()
    assert ended.json["hints"] == 1
    for number in numbers:
        assert desk.studio.ask("GET", "/api/webhooks/", params={"project": number}) == []


def test_forged_and_doubled_hints_change_nothing(desk: Desk) -> None:
    """Whatever reaches our server, the database says what Label Studio says."""
    with watching(desk) as watch:
        watch.until(lambda: len(desk.remote()) == 10)
        body = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "result": [], "task": desk.task()}}
        assert watch.post("/webhook", json=body, headers={}).status_code == 401
        assert watch.post("/webhook", json=body, headers={HEADER: "guessed"}).status_code == 401
        assert watch.post("/webhook", content=b"{").status_code == 400
        assert watch.post("/webhook", content=b" " * 2_000_000).status_code == 413
        for _ in range(5):
            assert watch.post("/webhook", json=body).status_code == 200
        deleted = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 1}]}
        assert watch.post("/webhook", json=deleted).status_code == 200
        desk.studio.annotate(desk.task(), "Red")
        watch.until(lambda: desk.labels() != {})
        ended = watch.end()
    assert list(desk.labels().values()) == ["Red"]
    assert ended.json["pulled"] == 1
    assert ended.json["refused"] == 4


def test_what_an_earlier_watch_left_is_replaced(desk: Desk) -> None:
    """After a kill its webhook is still there: the next watch puts its own in its place, and leaves those of others."""
    desk.studio.ask("POST", "/api/webhooks/", json={"project": desk.number, "url": "http://127.0.0.1:9/theirs"})
    with watching(desk) as watch:
        stale = watch.url
        watch.process.send_signal(signal.SIGKILL)
        assert watch.left().code == -9
    assert sorted(hook["url"] for hook in hooks(desk)) == [f"{stale}/webhook", "http://127.0.0.1:9/theirs"]
    with watching(desk) as watch:
        urls = {hook["url"] for hook in hooks(desk)}
        assert urls == {"http://127.0.0.1:9/theirs", f"{watch.url}/webhook"}
        assert watch.end().code == 130
    assert [hook["url"] for hook in hooks(desk)] == ["http://127.0.0.1:9/theirs"]


def test_the_queue_stays_filled(desk: Desk) -> None:
    """When less than half a batch is open the next follows, the most wanted first; when all is out, that is said."""
    with watching(desk, "--batch", "4") as watch:
        watch.until(lambda: len(desk.remote()) == 4)
        for place in range(3):
            desk.studio.annotate(desk.task(place), "Red")
        watch.until(lambda: len(desk.remote()) == 8)
        for place in range(3, 8):
            desk.studio.annotate(desk.task(place), "Green")
        watch.until(lambda: len(desk.remote()) == 10)
        desk.studio.annotate(desk.task(8), "Green")
        watch.until_said("every image is handed out")
        assert watch.end().json["pushed"] == 10
    assert len({task["data"]["image_id"] for task in desk.remote()}) == 10


def test_hands_can_work_beside_it(desk: Desk, cli: Cli) -> None:
    """A push and a pull by hand while it runs double nothing."""
    with watching(desk, "--batch", "2") as watch:
        watch.until(lambda: len(desk.remote()) == 2)
        pushed = cli("label", "push", "--json", "--project", desk.root, env=desk.env, check=True)
        assert pushed.json["created"] == 8
        desk.studio.annotate(desk.task(9), "Red")
        cli("label", "pull", "--project", desk.root, env=desk.env, check=True)
        watch.until(lambda: list(desk.labels().values()) == ["Red"])
        assert watch.end().code == 130
    assert len(desk.remote()) == 10
    assert len(desk.annotations()) == 1
    assert len(desk.annotations()[0].revisions) == 1


def test_a_second_watch_is_refused(desk: Desk, cli: Cli) -> None:
    """One line says that the project is watched; a loop, which would train too, is refused as well."""
    with watching(desk) as watch:
        other = cli("label", "watch", "--port", "0", "--project", desk.root, env=desk.env)
        assert (other.code, other.out, other.err.count("\n")) == (2, "", 1), other
        assert "another `curate label watch` or `curate loop` works on this project" in other.err
        with pytest.raises(DatasetError, match="another `curate label watch`"):
            next(loop(desk.project, desk.labelling, 1, 1))
        watch.until(lambda: len(hooks(desk)) == 1)
        assert watch.end().code == 130


def test_a_taken_port_is_told(desk: Desk, cli: Cli) -> None:
    """One that was asked for must be free; the one of the last time need not be."""
    with watching(desk) as watch:
        port = watch.credentials["port"]
        watch.end()
    with relay("http://127.0.0.1:9", port):
        taken = cli("label", "watch", "--port", port, "--project", desk.root, env=desk.env)
        assert (taken.code, taken.out) == (2, "")
        assert f"cannot listen at 127.0.0.1 port {port}: Address already in use" in taken.err.splitlines()[-1]
        again = Watching(desk.root, env=desk.env)
        again.until_said("a model for Label Studio's settings")
        assert again.credentials["port"] != port
        again.end()
        again.close()


@pytest.fixture
def away(make_desk: MakeDesk) -> Iterator[tuple[Desk, int]]:
    """A desk whose server is reached by a relay at this port, which is not there yet."""
    made = make_desk(10, "Red", "Green", start=False)
    with relay(made.studio.url) as between:
        desk = at(made, between.url)
    yield desk, int(between.url.rpartition(":")[2])
    desk.project.database.close()


def test_a_server_that_goes_away_is_waited_for(away: tuple[Desk, int]) -> None:
    """Down and then failing: each is said once, it is tried again, and what was labelled meanwhile comes in."""
    desk, port = away
    with relay(desk.studio.url, port):
        watch = Watching(desk.root, "--port", "0", env=desk.env)
        watch.until_said("a model for Label Studio's settings")
        watch.until(lambda: len(desk.remote()) == 10)
    desk.studio.annotate(desk.task(), "Red")
    watch.until_said("no Label Studio answers at")
    with relay(desk.studio.url, port) as between:
        between.faults["GET", "/api/tasks"] = 500
        watch.until_said("answered 500 out of order (trying again)")
        assert desk.labels() == {}
        between.faults.clear()
        watch.until(lambda: list(desk.labels().values()) == ["Red"])
        watch.until_said("Label Studio answers again")
        assert len(watch.said("no Label Studio answers")) == len(watch.said("answered 500")) == 1
        assert len(hooks(desk)) == 1
        ended = watch.end()
        watch.close()
    assert ended.code == 130


def test_a_deleted_project_ends_it(desk: Desk) -> None:
    """What no waiting mends is one line and an exit code of 2; the labels stay."""
    with watching(desk) as watch:
        watch.until(lambda: len(desk.remote()) == 10)
        desk.studio.annotate(desk.task(), "Red")
        watch.until(lambda: desk.labels() != {})
        desk.studio.delete("projects", desk.number)
        with suppress(httpx.TransportError):  # it may have noticed by itself
            watch.post("/webhook", json={"action": "ANNOTATION_CREATED"})
        ended = watch.left()
    assert (ended.code, ended.out) == (2, "")
    assert "no longer has project" in ended.err.splitlines()[-1]
    assert list(desk.labels().values()) == ["Red"]


def test_a_token_that_is_taken_back_ends_it(away: tuple[Desk, int]) -> None:
    """A refused token is one line, without the token, and no more tries."""
    desk, port = away
    with relay(desk.studio.url, port) as between:
        watch = Watching(desk.root, "--port", "0", env=desk.env)
        watch.until_said("a model for Label Studio's settings")
        between.faults["GET", "/api/tasks"] = 401
        with suppress(httpx.TransportError):  # as above
            watch.post("/webhook", json={"action": "ANNOTATION_CREATED"})
        ended = watch.left()
        watch.close()
    assert (ended.code, ended.out) == (2, "")
    assert "refuses the token (401); set CURATE_LABEL_STUDIO_TOKEN anew" in ended.err.splitlines()[-1]
    assert desk.studio.token not in ended.err


def test_once_does_what_is_due_and_ends(desk: Desk, cli: Cli) -> None:
    """A round for a timer: answers in, tasks out, no server, no webhook."""
    first = cli("label", "watch", "--once", "--batch", "4", "--json", "--project", desk.root, env=desk.env, check=True)
    assert (first.json["pushed"], first.json["pulled"]) == (4, 0)
    desk.studio.annotate(desk.task(), "Red")
    second = cli("label", "watch", "--once", "--batch", "4", "--json", "--project", desk.root, env=desk.env, check=True)
    assert (second.json["pushed"], second.json["pulled"]) == (0, 1)
    assert list(desk.labels().values()) == ["Red"]
    assert hooks(desk) == []


def test_a_model_can_be_connected_in_label_studio(desk: Desk) -> None:
    """By Label Studio's own settings, with a password: it asks our server, and people see what the best run says."""
    desk.predict("run-1", *[(image, "Green", 0.25) for image in desk.images()])
    set_value(desk.root / "curate.toml", "labelling.hidden", "0")
    with watching(desk, "--batch", "10") as watch:  # enough stays open, so that no later round sends pre-labels
        watch.until(lambda: len(desk.remote()) == 10)
        desk.studio.annotate(desk.task(), "Red")
        watch.until(lambda: desk.labels() != {})  # its first round, with pre-labels of its own, is over
        model = {
            "project": desk.number,
            "url": watch.url,
            "title": "curate",
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": "curate",
            "basic_auth_pass": watch.credentials["secret"],
        }
        refused = desk.studio.http.post("/api/ml/", json=model | {"basic_auth_pass": "guessed"})
        assert refused.status_code == 400
        assert "authentication parameters" in refused.text
        connected = desk.studio.ask("POST", "/api/ml/", json=model)
        assert (connected["readable_state"], connected["model_version"]) == ("Connected", "run-1")
        assert len(hooks(desk)) == 1  # its own, without a secret, would be a second one
        versions = desk.studio.ask("GET", f"/api/ml/{connected['id']}/versions")
        assert versions["versions"] == ["run-1"]
        desk.studio.delete_all(desk.number, "delete_tasks_predictions")
        desk.studio.ask("PATCH", f"/api/projects/{desk.number}/", json={"model_version": "curate"})
        task = desk.studio.ask("GET", f"/api/projects/{desk.number}/next")
        (shown,) = task["predictions"]
        assert shown["result"][0]["value"]["choices"] == ["Green"]
        assert (shown["score"], shown["model_version"]) == (0.25, "run-1")
        desk.studio.delete_all(desk.number, "retrieve_tasks_predictions")
        assert [len(task["predictions"]) for task in desk.remote()[1:]] == [1] * 9
        ended = watch.end()
    assert ended.json["refused"] == 1
    assert desk.studio.token not in ended.err + ended.out


def test_a_server_of_ours_calls_this_machine_and_no_private_network(desk: Desk) -> None:
    """What the watch needs is open in a Label Studio that curate starts, and nothing beside it."""
    for host in ("10.0.0.1", "192.168.1.1", "169.254.169.254", "172.16.0.1", "0.0.0.0", "100.64.0.1"):  # noqa: S104 - asked, not bound
        hook = {"project": desk.number, "url": f"http://{host}/x"}
        assert desk.studio.http.post("/api/webhooks/", json=hook).status_code == 403, host
        model = {"project": desk.number, "url": f"http://{host}/"}
        assert desk.studio.http.post("/api/ml/", json=model).status_code == 403, host
    desk.studio.ask("POST", "/api/webhooks/", json={"project": desk.number, "url": "http://127.0.0.1:9/x"})


def test_settings_that_make_no_sense_are_refused(desk: Desk, cli: Cli) -> None:
    """Numbers that are none, and an address that is not ours to listen at."""
    for arguments, words in (
        (["--every", "0"], "greater than or equal to 1"),
        (["--batch", "x"], "valid integer"),
        (["--port", "70000"], "65535"),
        (["--host", "192.0.2.1"], "cannot listen at 192.0.2.1"),
    ):
        ran = cli("label", "watch", *arguments, "--project", desk.root, env=desk.env)
        assert ran.code == 2
        assert words in ran.err.splitlines()[-1]


def test_tasks_of_a_project_that_is_gone_are_not_open(desk: Desk, cli: Cli) -> None:
    """After the project was deleted and made anew, the new one is filled, whatever was open in the old one."""
    desk.labelling.push()
    desk.studio.delete("projects", desk.number)
    cli("label", "start", "--new-project", "--project", desk.root, env=desk.env, check=True)
    once = cli("label", "watch", "--once", "--batch", "4", "--json", "--project", desk.root, env=desk.env, check=True)
    assert once.json["pushed"] == len(desk.remote()) == 4


def test_damaged_credentials_are_made_anew(desk: Desk) -> None:
    """What is kept for the next time can be lost without harm; it is readable by its user alone."""
    with watching(desk) as watch:
        first = watch.credentials
        watch.end()
    file = desk.root / ".curate" / "watch" / "credentials.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("{")
    with watching(desk) as watch:
        assert watch.credentials["secret"] != first["secret"]
        assert json.loads(file.read_text())["port"] == watch.credentials["port"]
        assert watch.end().code == 130


def test_deletions_in_bulk_are_asked_about(make_desk: MakeDesk, cli: Cli) -> None:
    """The watch does not take them over by itself: it says what to do, and goes on once that was done."""
    desk = make_desk(30, "Red", "Green")
    set_value(desk.root / "curate.toml", "dataset.target", "60")
    desk.labelling.push()
    for task in desk.remote():
        desk.studio.annotate(task["id"], "Red")
    with watching(desk, "--every", "1000") as watch:
        watch.until(lambda: len(desk.labels()) == 30)
        desk.studio.delete_all(desk.number, "delete_tasks_annotations")
        watch.until_said("`curate label pull --accept-deletions`")
        assert len(desk.labels()) == 30
        cli("label", "pull", "--accept-deletions", "--project", desk.root, env=desk.env, check=True)
        watch.until_said("Label Studio answers again")
        assert desk.labels() == {}
        assert watch.end().code == 130
