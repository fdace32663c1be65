"""The watch trains beside people's work: after every N labels, in a process that may fail, die or be stopped."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from curate.edit import set_value
from curate.live.jobs import Job
from curate.rounds.account import account
from curate.split import split
from db.files import process_lives
from db.models import Run, RunState, Snapshot
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk
from tests.watching import Watching, hooks, watching

SETTINGS = {
    "labelling.hidden": "0",
    "dataset.validation": "2",
    "dataset.target": "20",
    "train.arch": "squeezenet1_1",
    "train.init": "none",
    "train.size": "32",
    "train.epochs": "1",
    "train.device": "cpu",
}


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """Sixteen images, all handed out, and a network that learns from them in seconds."""
    desk = make_desk(16, "Red", "Green")
    for key, value in SETTINGS.items():
        set_value(desk.root / "curate.toml", key, value)
    desk.labelling.push()
    return desk


def label(desk: Desk, first: int, last: int) -> None:
    """Answer the tasks made `first`-th to before `last`-th, in turn Red and Green."""
    for place, task in list(enumerate(desk.remote()))[first:last]:
        desk.studio.annotate(task["id"], ("Red", "Green")[place % 2])


def runs(desk: Desk) -> list[Run]:
    """All runs."""
    with desk.project.database.read() as session:
        return list(session.scalars(select(Run).order_by(Run.id)))


def at_it(desk: Desk) -> bool:
    """Whether a run is being trained."""
    return any(run.state is RunState.RUNNING for run in runs(desk))


def children(watch: Watching) -> list[int]:
    """Processes that the watch has started."""
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(watch.process.pid)], capture_output=True, text=True)  # noqa: PLW1510 - none is an exit code of 1
    return [int(word) for word in told.stdout.split()]


def shown(desk: Desk, run: str) -> list[int]:
    """Tasks that carry a prediction of a run."""
    return [t["id"] for t in desk.remote() if any(p["model_version"] == run for p in t["predictions"])]


@pytest.mark.long
def test_labels_train_a_model_and_its_pre_labels_follow(desk: Desk) -> None:
    """After N labels a run is trained, everything else is predicted by it, and Label Studio shows it, in that order."""
    with watching(desk, "--every", "8") as watch:
        label(desk, 0, 7)
        watch.until(lambda: len(desk.labels()) == 7)
        assert runs(desk) == []
        label(desk, 7, 8)
        begun = watch.until_said("training on split 1, with 8 new labels; its log: ")
        (job,) = children(watch)
        assert os.getpriority(os.PRIO_PROCESS, job) == 10
        label(desk, 8, 11)  # meanwhile
        watch.until(lambda: [run.state for run in runs(desk)] == [RunState.FINISHED])
        watch.until_said("is trained: validation accuracy")
        name = runs(desk)[0].name
        watch.until(lambda: len(shown(desk, name)) == 5)
        watch.until_said("5 pre-labels of run")
        settings = desk.studio.ask("GET", f"/api/projects/{desk.number}/")
        assert (settings["model_version"], settings["sampling"]) == (name, "Uncertainty sampling")
        task = desk.studio.ask("GET", f"/api/projects/{desk.number}/next")
        least = min((t for t in desk.remote()[11:]), key=lambda t: float(t["predictions"][0]["score"]))
        assert task["id"] == least["id"]
        assert [p["model_version"] for p in task["predictions"]] == [name]
        ask = {"tasks": [{"id": 1, "data": {"image_id": desk.image_of(desk.task(0))}}]}
        (answer,) = watch.post("/predict", json=ask).json()["results"]  # of an image that it learned from
        assert answer[0]["model_version"] == name
        assert answer[0]["result"][0]["value"]["choices"][0] in {"Red", "Green"}
        label(desk, 11, 16)  # with the three from before that is enough again
        watch.until(lambda: len(runs(desk)) == 2)
        watch.until(lambda: not at_it(desk))
        watch.until(lambda: len(watch.said("is trained")) == 2)
        ended = watch.end()
    assert ended.code == 130
    assert [one["run"] for one in ended.json["trained"]] == [run.name for run in runs(desk)]
    assert ended.json["failed"] == []
    assert ended.json["prelabelled"] == 5
    told = [(one.run, one.labelled) for one in account(desk.project).rounds]
    assert told == [(run.name, labelled) for run, labelled in zip(runs(desk), (8, 16), strict=True)]
    with desk.project.database.read() as session:
        assert len(session.scalars(select(Snapshot)).all()) == 2
    assert Path(begun.rpartition("its log: ")[2]).read_text()


def test_a_training_that_fails_is_told(desk: Desk) -> None:
    """Its own words are told, its log is kept, the watch goes on, and as many further labels are waited for."""
    set_value(desk.root / "curate.toml", "train.init", "nowhere.safetensors")
    with watching(desk, "--every", "4") as watch:
        label(desk, 0, 4)
        told = watch.until_said("train failed: ")
        assert "nowhere.safetensors" in told
        assert "the next one begins after 4 more labels" in told
        label(desk, 4, 7)
        watch.until(lambda: len(desk.labels()) == 7)
        assert len(watch.said("training on split")) == 1
        set_value(desk.root / "curate.toml", "train.init", "none")
        label(desk, 7, 8)
        watch.until_said("is trained")
        ended = watch.end()
    assert [one["job"] for one in ended.json["failed"]] == ["train"]
    assert "nowhere.safetensors" in Path(ended.json["failed"][0]["log"]).read_text()
    assert len(ended.json["trained"]) == 1


def test_a_training_that_is_killed_is_told(desk: Desk) -> None:
    """As when memory runs out: the watch names the signal and goes on taking labels in."""
    set_value(desk.root / "curate.toml", "train.epochs", "1000")
    with watching(desk, "--every", "4") as watch:
        label(desk, 0, 4)
        watch.until(lambda: at_it(desk))
        os.kill(children(watch)[0], signal.SIGKILL)
        assert "it was ended by SIGKILL" in watch.until_said("train failed: ")
        label(desk, 4, 6)
        watch.until(lambda: len(desk.labels()) == 6)
        assert watch.end().code == 130


def test_a_stopped_watch_stops_the_training_so_that_it_can_go_on(desk: Desk, cli: Cli) -> None:
    """On SIGTERM no process is left, and `curate train --resume` ends the run."""
    set_value(desk.root / "curate.toml", "train.epochs", "30")
    with watching(desk, "--every", "4") as watch:
        label(desk, 0, 4)
        watch.until(lambda: at_it(desk))
        (job,) = children(watch)
        ended = watch.end(signal.SIGTERM)
    assert ended.code == 143
    assert ended.json["trained"] == ended.json["failed"] == []
    assert "run it again to go on" in ended.err.splitlines()[-1]
    assert not process_lives(job)
    assert at_it(desk)
    resumed = cli("train", "--resume", "--json", "--project", desk.root, check=True)
    assert resumed.json["run"] == runs(desk)[0].name
    assert [run.state for run in runs(desk)] == [RunState.FINISHED]


def test_what_a_killed_watch_left_at_work_is_waited_for(desk: Desk) -> None:
    """Its training goes on without it: the next watch begins none beside it, and takes what it comes to."""
    with watching(desk, "--every", "4") as watch:
        label(desk, 0, 4)
        watch.until(lambda: at_it(desk))
        (job,) = children(watch)
        os.kill(job, signal.SIGSTOP)  # or it might be done before the next watch looks
        watch.process.kill()
        watch.left()
    try:
        with watching(desk, "--every", "4") as watch:
            name = runs(desk)[0].name
            watch.until_said(f"run {name} is being trained by another process; 4 new labels wait for its end")
            assert process_lives(job)
            os.kill(job, signal.SIGCONT)
            watch.until(lambda: len(shown(desk, name)) == 12)
            assert watch.end().json["trained"] == []
            assert len(runs(desk)) == 1
    finally:
        if process_lives(job):
            os.kill(job, signal.SIGKILL)


@pytest.mark.long
def test_it_can_be_interrupted_at_any_time(desk: Desk) -> None:
    """Ctrl-C in any phase: 130, no traceback, no process and no webhook left; the next watch goes on from there."""
    label(desk, 0, 4)
    interrupt(desk, lambda watch: watch.said("watching project"))
    interrupt(desk, lambda watch: watch.said("training on split"))
    interrupt(desk, lambda _: at_it(desk))
    interrupt(desk, lambda watch: watch.said("is trained"))
    # It may be done with that already: the watch before had begun.
    interrupt(desk, lambda watch: watch.said("predicting") or watch.said("every image is handed out"))
    last = Watching(desk.root, "--once", "--every", "4", env=desk.env)
    done = last.left()
    last.close()
    assert done.code == 0, done
    assert [run.state for run in runs(desk)] == [RunState.FINISHED]
    assert len(shown(desk, runs(desk)[0].name)) == 12


def interrupt(desk: Desk, ready: Callable[[Watching], object]) -> None:
    """Begin a watch, and end it as soon as it is `ready`."""
    watch = Watching(desk.root, "--port", "0", "--every", "4", env=desk.env)
    try:
        watch.until(lambda: ready(watch))
        jobs = children(watch)
        ended = watch.end()
    finally:
        watch.close()
    assert ended.code == 130, ended
    assert "Traceback" not in ended.err
    assert not [job for job in jobs if process_lives(job)]
    assert hooks(desk) == []


def test_a_run_trained_by_hand_is_shown_too(desk: Desk, cli: Cli) -> None:
    """The watch does not ask who trained: when another run is the best, people see what that one says."""
    label(desk, 0, 8)
    desk.labelling.pull()
    with watching(desk, "--every", "100") as watch:
        split(desk.project)
        cli("train", "--project", desk.root, check=True)
        name = runs(desk)[0].name
        watch.post("/webhook", json={"action": "ANNOTATION_CREATED"})
        watch.until(lambda: len(shown(desk, name)) == 8)
        assert watch.end().json["trained"] == []


def test_start_training_in_label_studio_starts_one(desk: Desk) -> None:
    """Whoever presses that button for the connected model need not wait for N labels."""
    with watching(desk, "--every", "1000") as watch:
        label(desk, 0, 4)
        watch.until(lambda: len(desk.labels()) == 4)
        secret = watch.credentials["secret"]
        model = {"project": desk.number, "url": watch.url, "title": "curate", "auth_method": "BASIC_AUTH"}
        model |= {"basic_auth_user": "curate", "basic_auth_pass": secret}
        connected = desk.studio.ask("POST", "/api/ml/", json=model)
        assert connected["model_version"] in {"", None}
        desk.studio.ask("POST", f"/api/ml/{connected['id']}/train", json={})
        watch.until_said("training on split 1, with 4 new labels")
        watch.until_said("is trained")
        assert len(watch.end().json["trained"]) == 1


def test_labels_that_change_no_split_train_nothing(desk: Desk) -> None:
    """Once every class has its target, further labels wait in reserve: there is nothing new to learn."""
    set_value(desk.root / "curate.toml", "dataset.target", "4")
    with watching(desk, "--every", "8") as watch:
        label(desk, 0, 8)
        watch.until_said("is trained")
        label(desk, 8, 16)
        watch.until_said("8 new labels change nothing of split 1")
        assert len(watch.end().json["trained"]) == 1


def test_a_job_says_why_it_failed(tmp_path: Path) -> None:
    """Its last word is its reason; what it said is in a log that its user alone can read; only so many are kept."""
    folder = tmp_path / "watch"
    folder.mkdir(mode=0o700)
    for number in range(25):
        (folder / f"train-{number}.log").touch()
    (tmp_path / "none").mkdir()
    job = Job(["train"], tmp_path / "none", folder, {}, lambda: None)
    while (ended := job.result()) is None:
        pass
    assert ended.data is None
    assert ended.problem.startswith("no curate.toml in")
    assert len(list(folder.glob("*.log"))) == 21
    assert folder.stat().st_mode & 0o777 == 0o700
