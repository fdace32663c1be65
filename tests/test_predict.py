"""From a split to a run, to answers, to what is labelled next: the stages around the trainer, on a real project."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from curate import runs
from curate.doctor import examine
from curate.ingest.folder import import_folder
from curate.predicting import predict_files
from curate.prelabel import predict_unlabelled
from curate.project import Project
from curate.queue import embeddings
from curate.select import choose
from curate.split import split
from curate.training import options_from, train_run
from db.errors import DatasetError
from db.models import Image, Prediction, Run, RunState, Snapshot
from tests.conftest import Cli
from tests.environment import clean_env
from tests.pictures import coloured, encoded, jpeg, write_folder
from trainer.errors import ManifestError, WeightsError

TRAINING = {
    "train__arch": '"resnet18"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "6",
    "train__device": '"cpu"',
    "dataset__validation": "2",
    "dataset__target": "8",
}
CLASSES = ("Red", "Green")
SMALL = ("--arch", "squeezenet1_1", "--epochs", "12")
"""Where it is a matter of how a run ends, not of what it learns."""


@pytest.fixture
def learned(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with sixteen labelled images of two classes, split."""
    found = make_project(*CLASSES, **TRAINING)
    write_folder(tmp_path / "in", {"Red": range(8), "Green": range(8)})
    import_folder(found, tmp_path / "in", labels=True)
    split(found)
    return found


def test_a_run_answers_for_files_and_is_right(learned: Project, tmp_path: Path) -> None:
    """Each file gets a label, a score that is its probability, probabilities that add up, and its path as given."""
    run = train_run(learned, options_from(learned))
    new = write_folder(tmp_path / "new", {"Red": range(50, 56), "Green": range(50, 56)})
    (new / "Red" / "note.txt").write_text("no picture")
    (tmp_path / "broken.jpg").write_bytes(jpeg(1)[:400])
    report = predict_files(learned, [str(new), str(tmp_path / "broken.jpg")])
    assert report.run == run.run
    assert [Path(p.path).parent.name for p in report.predictions] == [p.label for p in report.predictions]
    for prediction in report.predictions:
        assert prediction.score == max(prediction.probabilities.values())
        assert list(prediction.probabilities) == list(CLASSES)
        assert abs(sum(prediction.probabilities.values()) - 1) < 1e-5
    failed = {Path(path).name: refusal.reason.value for path, refusal in report.failures}
    assert failed == {"broken.jpg": "corrupt", "note.txt": "not_an_image"}


def test_what_is_unlabelled_is_predicted_once(learned: Project, tmp_path: Path) -> None:
    """A second time nothing is asked again; `next` then knows a score and says why.

    What the network saw is kept along, of the few labelled images, too: `auto` goes by it.
    """
    write_folder(tmp_path / "new", {"a": range(60, 64)})
    import_folder(learned, tmp_path / "new", labels=False)
    assert all(choice.score is None for choice in choose(learned, 10))
    train_run(learned, options_from(learned))
    first, second = predict_unlabelled(learned), predict_unlabelled(learned)
    assert (first.images, first.predicted, second.images, second.predicted) == (4, 4, 4, 0)
    with learned.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Prediction)) == 4
        run = session.scalars(select(Run)).one()
        hashes = set(session.scalars(select(Image.sha256)))
    assert embeddings.kept(learned, run) == hashes
    assert len(hashes) == 20
    choices = choose(learned, 10)
    assert [choice.score is None for choice in choices] == [False] * 4
    reasons = {choice.why.partition("; ")[0] for choice in choices}
    assert reasons == {"undecided", "typical of many that have few labels"}
    assert all("which has its target" in choice.why for choice in choices)


def test_training_needs_a_split_and_a_prediction_needs_a_run(make_project: Callable[..., Project]) -> None:
    """Each says which command comes first."""
    project = make_project(*CLASSES, **TRAINING)
    with pytest.raises(DatasetError, match="curate split"):
        train_run(project, options_from(project))
    with pytest.raises(DatasetError, match="curate train"):
        predict_files(project, [str(project.root)])
    with pytest.raises(DatasetError, match="no stopped run to resume"):
        train_run(project, options_from(project), resume=True)


def test_a_misspelt_option_of_training_leaves_no_run_behind(learned: Project, tmp_path: Path) -> None:
    """Neither a row nor a folder: the name of a network is part of a run's, and may hold what leads elsewhere."""
    before = sorted(learned.root.rglob("*"))
    for wrong in ({"arch": "../../outside"}, {"device": "cpuu"}, {"init": str(tmp_path / "nosuch.safetensors")}):
        with pytest.raises(WeightsError):
            train_run(learned, options_from(learned, **wrong))
    with learned.database.read() as session:
        assert session.scalars(select(Run)).all() == []
    assert sorted(learned.root.rglob("*")) == before


def test_an_altered_image_stops_training_by_its_id(learned: Project) -> None:
    """The run is noted as failed with the reason, and `doctor` names the same image."""
    victim = next(learned.store.files())
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(ManifestError) as raised:
        train_run(learned, options_from(learned))
    (problem,) = [found for found in examine(learned, repair=False) if found.kind == "altered"]
    number = problem.subject.split()[1]
    assert f"image {number} (altered since it was stored)" in str(raised.value)
    with learned.database.read() as session:
        (run,) = session.scalars(select(Run)).all()
        assert run.state is RunState.FAILED
        assert f"image {number}" in (run.problem or "")


def test_weights_altered_since_the_run_are_refused(learned: Project) -> None:
    """A flipped bit is found by its hash, not by wrong answers."""
    run = train_run(learned, options_from(learned, epochs=1))
    weights = learned.runs / run.run / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-10] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match="was altered or cut off"):
        predict_files(learned, [str(learned.root / "images")])
    assert any(run.run in problem.subject for problem in examine(learned, repair=False))


def test_the_newest_split_answers_unless_an_older_run_is_surely_better(learned: Project) -> None:
    """A lucky few of few never beats a later run; a difference beyond chance does."""
    with learned.database.write() as session:
        classes = list(CLASSES)
        first = session.scalars(select(Snapshot)).one()
        later = Snapshot(content_sha256="b", seed=1, target=8, validation=2, classes=classes, items=[])
        session.add(later)
        session.flush()
        for name, snapshot, accuracy, images in (
            ("lucky", first.id, 1.0, 5),
            ("later", later.id, 0.8, 500),
        ):
            session.add(
                Run(
                    name=name,
                    snapshot_id=snapshot,
                    arch="a",
                    options={},
                    classes=classes,
                    state=RunState.FINISHED,
                    validation_accuracy=accuracy,
                    validation_images=images,
                )
            )
    with learned.database.read() as session:
        found = runs.best(session, classes)
        assert found is not None
        assert found.name == "later"
        assert runs.best(session, ["Other", "Classes"]) is None
    with learned.database.write() as session:
        session.scalars(select(Run).where(Run.name == "lucky")).one().validation_images = 500
    with learned.database.read() as session:
        found = runs.best(session, classes)
        assert found is not None
        assert found.name == "lucky"


@pytest.mark.long
def test_a_run_killed_in_training_is_gone_on_with_by_the_same_command(
    learned: Project, cli: Cli, tmp_path: Path
) -> None:
    """After kill -9 in an epoch one run stands, equal to one that was never killed, and nothing is left over."""
    whole = tmp_path / "whole"
    shutil.copytree(learned.root, whole)
    command = [sys.executable, "-m", "curate", "train", *SMALL, "--project", str(learned.root)]
    process = subprocess.Popen(command, env=clean_env(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = learned.runs / "0001-squeezenet1_1" / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    runs_of = {}
    for folder in (learned.root, whole):
        done = cli("train", *SMALL, "--project", folder, "--json", check=True).json
        runs_of[folder] = done
        (weights,) = [json.loads(p.read_text())["weights_sha256"] for p in folder.glob("runs/*/run.json")]
        runs_of[folder]["weights"] = weights
    killed, uninterrupted = runs_of[learned.root], runs_of[whole]
    assert killed["resumed"]
    assert not uninterrupted["resumed"]
    assert killed["weights"] == uninterrupted["weights"]
    assert killed["best"] == uninterrupted["best"]
    assert cli("doctor", "--project", learned.root, "--json", check=True).json == {"problems": []}


def test_killed_between_a_run_and_its_row_training_completes_the_row(learned: Project, cli: Cli) -> None:
    """Never a row without its files; the same command notes the run that is there, and trains no second one."""
    arguments = ("train", *SMALL, "--project", learned.root, "--json")
    assert cli(*arguments, env={"CURATE_FAULT": "run.before_row"}).code == -signal.SIGKILL
    record = learned.runs / "0001-squeezenet1_1" / "run.json"
    written = record.stat().st_mtime_ns
    with learned.database.read() as session:
        assert [run.state for run in session.scalars(select(Run))] == [RunState.RUNNING]
    assert cli(*arguments, check=True).json["run"] == "0001-squeezenet1_1"
    assert record.stat().st_mtime_ns == written
    with learned.database.read() as session:
        assert [run.state for run in session.scalars(select(Run))] == [RunState.FINISHED]
    assert cli("doctor", "--project", learned.root, "--json", check=True).json == {"problems": []}


def test_an_image_that_vanished_is_told_by_predict(learned: Project, cli: Cli, tmp_path: Path) -> None:
    """A path that is not there stops with 2; a list of paths with one bad file ends with 1 and answers the rest."""
    train_run(learned, options_from(learned, epochs=1))
    missing = cli("predict", "gone.jpg", "--project", learned.root)
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    (tmp_path / "good.jpg").write_bytes(encoded(coloured(0, 70)))
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    (tmp_path / "list").write_text(f"{tmp_path / 'good.jpg'}\n{tmp_path / 'bad.jpg'}\n")
    done = cli("predict", "--from", tmp_path / "list", "--project", learned.root, "--json")
    assert done.code == 1
    assert [p["path"] for p in done.json["predictions"]] == [str(tmp_path / "good.jpg")]
    assert [f["reason"] for f in done.json["failures"]] == ["not_an_image"]
    assert os.fspath(tmp_path) in done.out
