"""`curate distill`: a small network learns what a large one says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from curate.distilling import distill
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from db.models import Run
from tests.conftest import Cli
from tests.learning import make_manifest, options
from tests.pictures import write_folder
from trainer.errors import WeightsError
from trainer.evaluate import Precision
from trainer.predict import Predictor, read_run, read_validation
from trainer.recipes import FAST
from trainer.run import train
from trainer.teacher import Teacher

CLASSES = ("Red", "Green")
TRAINING = {
    "train__arch": '"resnet18"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "2",
    "train__device": '"cpu"',
    "dataset__validation": "3",
    "dataset__target": "12",
}
SMALL = "squeezenet1_1"


@pytest.fixture
def taught(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a finished run."""
    project = make_project(*CLASSES, **TRAINING)
    write_folder(tmp_path / "in", {name: range(12) for name in CLASSES})
    import_folder(project, tmp_path / "in", labels=True)
    split(project)
    train_run(project, options_from(project))
    return project


def test_a_student_comes_to_say_what_its_teacher_says_whatever_the_labels(tmp_path: Path) -> None:
    """The teacher was taught red for green: so the student, though its manifest is right, answers wrongly too."""
    manifest = make_manifest(tmp_path / "pictures", train=12, held=12)
    swapped = replace(manifest, items=tuple(replace(item, label=1 - item.label) for item in manifest.items))
    teacher = train(swapped, options(arch=SMALL, epochs=8), tmp_path / "runs" / "teacher", tmp_path / "cache")
    assert teacher.validation_accuracy == 1.0
    recipe = replace(FAST, patience=20, teacher_temperature=2.0)
    wanted = options(arch=SMALL, epochs=8, recipe=recipe, teacher="teacher")
    train(manifest, wanted, tmp_path / "runs" / "student", tmp_path / "cache")
    # By accuracy on right labels the least taught weights are kept: what was learned the last epoch tells.
    lines = (tmp_path / "runs" / "student" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["validation_accuracy"] < 0.2


def test_a_teacher_is_asked_at_its_own_size_and_softened() -> None:
    """Twice the temperature halves what its outputs differ by; its answers add up to 1."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    predictor = Predictor(CLASSES, model, 64, 1.0, 0.0, Precision(torch.device("cpu"), bfloat16=False))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    hard, soft = (Teacher(predictor, t).targets(images).logit() for t in (1.0, 2.0))
    assert torch.allclose(hard, 2 * soft, atol=1e-4)
    assert torch.allclose(Teacher(predictor, 3.0).targets(images).sum(1), torch.ones(4))
    assert not any(parameter.requires_grad and parameter.grad is not None for parameter in model.parameters())


def test_a_teacher_of_other_classes_is_refused_before_the_first_epoch(tmp_path: Path) -> None:
    """Naming both."""
    manifest = make_manifest(tmp_path / "pictures")
    train(manifest, options(epochs=1), tmp_path / "runs" / "teacher", tmp_path / "cache")
    other = replace(manifest, classes=("Red", "Blue"))
    with pytest.raises(WeightsError, match="the teacher teacher knows Red, Green, and not Red, Blue"):
        train(other, options(teacher="teacher"), tmp_path / "runs" / "student", tmp_path / "cache")


def test_the_command_sets_teacher_and_student_side_by_side(taught: Project, cli: Cli) -> None:
    """On the teacher's own validation images, though there is a newer split; sizes are those of the files."""
    teacher = next(iter(taught.runs.iterdir())).name
    write_folder(taught.root / "more", {name: range(40, 52) for name in CLASSES})
    import_folder(taught, taught.root / "more", labels=True)
    split(taught, strict=False)
    arguments = ("--arch", SMALL, "--epochs", 1, "--project", taught.root, "--json")
    found = cli("distill", *arguments, check=True).json
    assert found["teacher"]["run"] == teacher
    assert found["student"]["run"] == found["run"] != teacher
    held_out = [read_validation(taught.runs / name).sha256 for name in (teacher, found["run"])]
    assert held_out[0] == held_out[1]
    for one in (found["teacher"], found["student"]):
        assert one["bytes"] == (taught.runs / one["run"] / "model.safetensors").stat().st_size
        assert one["images_per_second"] > 0
    assert found["student"]["parameters"] < found["teacher"]["parameters"]
    assert read_run(taught.runs / found["run"])["options"]["recipe"]["name"] == "distill"
    assert cli("predict", taught.root / "more", "--run", found["run"], "--project", taught.root).code == 0


def test_no_student_teaches_unasked(taught: Project) -> None:
    """However good it is, the next one learns from the run that no other taught."""
    (teacher,) = (path.name for path in taught.runs.iterdir())
    student = distill(taught, arch=SMALL, epochs=1).student.run
    with taught.database.write() as session:
        for run in session.query(Run):
            run.validation_accuracy = float(run.name == student)
    assert distill(taught, arch=SMALL, epochs=1, seed=5).teacher.run == teacher
    assert distill(taught, arch=SMALL, epochs=1, seed=6, teacher=student).teacher.run == student
