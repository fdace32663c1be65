"""`curate evaluate`: what a run got wrong, counted by hand, and a page that shows it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curate.evaluating import bins, evaluation
from curate.forget import forget
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.pages.evaluation import write_evaluation
from curate.project import Project
from curate.runs import REPORT, SHEET
from curate.split import split
from curate.studio import Environment
from curate.training import options_from, train_run
from db.errors import DatasetError
from tests.conftest import Cli
from tests.judging import TEMPERATURE, fill, number_of, pretend
from tests.pictures import write_folder
from trainer.errors import WeightsError
from trainer.intervals import wilson

NASTY = "<b>\"Gr&een'"
CLASSES = ("Red", NASTY, "Blue")
FIGURES = ["curves.png", "confusion.png", "reliability.png", "confused.png"]


@pytest.fixture
def hashes(project: Project, tmp_path: Path) -> dict[str, list[str]]:
    """SHA-256s of six images of each class of `project`, whose run `one` has answered for four of each.

    Red: three right, one taken for Blue. The class of a nasty name: all for Blue. Blue: all right.
    """
    found = fill(project, tmp_path / "in", dict.fromkeys(CLASSES, 6))
    red, nasty, blue = (found[name][:4] for name in CLASSES)
    answers = dict.fromkeys(red, ("Red", "Red")) | dict.fromkeys(blue, ("Blue", "Blue"))
    answers |= {red[0]: ("Red", "Blue")} | dict.fromkeys(nasty, (NASTY, "Blue"))
    pretend(project, "one", answers, train=[(found[name][5], name) for name in CLASSES])
    return found


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project with a class whose name looks like markup."""
    return make_project(*CLASSES)


def offline(project: Project) -> Labelling:
    """Labelling without a server."""
    return Labelling(project, Environment(project.root / "nowhere", None))


def test_bins_hold_equally_many() -> None:
    """Forty answers make two bins of twenty; five make one."""
    scores = np.array([0.5] * 20 + [0.9] * 20)
    right = np.array([True] * 5 + [False] * 15 + [True] * 20)
    found = bins(scores[::-1], right[::-1])
    assert [(round(one.score, 9), one.right.hits, one.right.of) for one in found] == [(0.5, 5, 20), (0.9, 20, 20)]
    assert len(bins(scores[:5], right[:5])) == 1


@pytest.mark.usefixtures("hashes")
def test_accuracy_recall_and_precision_are_those_counted_by_hand(project: Project) -> None:
    """Seven of twelve; a class that no answer names has no precision."""
    found = evaluation(project)
    assert (found.run, found.accuracy.hits, found.accuracy.of) == ("one", 7, 12)
    assert found.accuracy.interval == wilson(7, 12)
    by_name = {one.name: one for one in found.per_class()}
    assert [by_name[name].recall.value for name in CLASSES] == [0.75, 0.0, 1.0]
    assert [by_name[name].precision.value for name in CLASSES] == [1.0, None, 4 / 9]
    assert [(pair.label, pair.answered, len(pair.rows)) for pair in found.confused()] == [
        (NASTY, "Blue", 4),
        ("Red", "Blue", 1),
    ]
    surest = [found.scores[row] for row in found.confused()[0].rows]
    assert surest == sorted(surest, reverse=True)
    first = np.exp(4 / TEMPERATURE)
    assert found.scores.max() == pytest.approx(first / (first + 2))


@pytest.mark.usefixtures("hashes")
def test_the_command_tells_what_it_found_and_writes_it(project: Project, cli: Cli, tmp_path: Path) -> None:
    """Every promised field, figures in the run's folder, and the page there or where it was asked for."""
    found = cli("evaluate", "--json", cwd=project.root, check=True).json
    folder = project.runs / "one"
    assert found["run"] == "one"
    assert found["file"] == str(folder / REPORT)
    assert found["files"] == [str(folder / name) for name in FIGURES]
    low, high = wilson(7, 12)
    assert found["accuracy"] == {"value": 7 / 12, "low": low, "high": high}
    assert list(found["classes"]) == list(CLASSES)
    assert found["classes"]["Red"]["recall"] == 0.75
    assert found["classes"][NASTY]["precision"] is None
    assert sum(one["images"] for one in found["classes"].values()) == found["images"] == 12
    assert [(pair["label"], pair["answered"], pair["images"]) for pair in found["confused"]] == [
        (NASTY, "Blue", 4),
        ("Red", "Blue", 1),
    ]
    (wrong,) = found["confused"][1]["wrong"]
    assert (project.root / wrong["path"]).is_file()
    assert wrong["id"] == number_of(project, wrong["sha256"])
    assert set(found["calibration"]) == {"before", "after", "chance", "temperature"}
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in FIGURES)
    ran = cli("evaluate", "--run", "one", "-o", "here.html", "--project", project.root, cwd=tmp_path, check=True)
    assert str(tmp_path / "here.html") in ran.out
    assert "7 of 12 images right" in ran.out
    assert (tmp_path / "here.html").read_text().startswith("<!doctype html>")


@pytest.mark.usefixtures("hashes")
def test_the_page_holds_its_figures_and_says_how_the_run_was_made(project: Project) -> None:
    """Figures are data, names are text, hashes are whole, and where weights lay on this machine is not told."""
    report = write_evaluation(project)
    text = report.file.read_text()
    assert text.count('src="data:image/png;base64,') == 3
    assert text.count('src="data:image/jpeg;base64,') == 5
    assert NASTY not in text
    assert "&lt;b&gt;&#34;Gr&amp;een&#39;" in text
    facts = json.loads((project.runs / "one" / "run.json").read_text())
    assert facts["weights_sha256"] in text
    assert "first.safetensors" in text
    assert "/home/somebody" not in text


def test_a_forgotten_image_leaves_a_place_without_a_picture(project: Project, hashes: dict[str, list[str]]) -> None:
    """It still counts, as it did when the run ended; pages and sheets that showed it are gone."""
    report = write_evaluation(project)
    number = number_of(project, hashes["Red"][0])
    forget(project, str(number), offline(project))
    assert not report.file.exists()
    assert not (project.runs / "one" / SHEET).exists()
    again = write_evaluation(project)
    assert again.evaluation.accuracy == report.evaluation.accuracy
    assert hashes["Red"][0] not in again.pictures
    text = again.file.read_text()
    assert text.count('src="data:image/jpeg;base64,') == 4
    assert "This image was forgotten." in text


def test_forgetting_another_image_leaves_the_report(project: Project, hashes: dict[str, list[str]]) -> None:
    """A report that never showed it stays."""
    report = write_evaluation(project)
    forget(project, str(number_of(project, hashes["Red"][4])), offline(project))
    assert report.file.exists()


@pytest.mark.usefixtures("hashes")
def test_without_metrics_there_are_no_curves(project: Project) -> None:
    """Gone is gone: all else is shown. Damaged is said."""
    metrics = project.runs / "one" / "metrics.jsonl"
    metrics.write_text('{"epoch": 1')
    with pytest.raises(DatasetError, match=r"metrics\.jsonl is damaged"):
        write_evaluation(project)
    metrics.unlink()
    report = write_evaluation(project)
    assert [path.name for path in report.files] == FIGURES[1:]
    assert "Learning curves" not in report.file.read_text()


@pytest.mark.usefixtures("hashes")
def test_a_run_from_before_answers_were_kept_says_so(project: Project, cli: Cli) -> None:
    """One line with what to do."""
    file = project.runs / "one" / "run.json"
    facts = json.loads(file.read_text())
    del facts["validation_sha256"]
    file.write_text(json.dumps(facts))
    with pytest.raises(WeightsError, match="train it again"):
        evaluation(project)
    ran = cli("evaluate", cwd=project.root)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "made before runs kept their validation answers; train it again" in ran.err


def test_a_run_that_was_trained_is_evaluated(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """The accuracy is the one that training told, and images that no class was labelled with cost nothing."""
    settings = {"train__arch": '"squeezenet1_1"', "train__init": '"none"', "train__size": "32", "train__epochs": "1"}
    project = make_project("Red", "Green", name="real", dataset__target="6", dataset__validation="2", **settings)
    import_folder(project, write_folder(tmp_path / "real-in", {"Red": range(6), "Green": range(6)}), labels=True)
    split(project)
    run = train_run(project, options_from(project))
    found = write_evaluation(project).evaluation
    assert found.run == run.run
    assert found.accuracy.value == pytest.approx(run.result.validation_accuracy)
