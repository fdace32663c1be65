"""Runs that were never trained: their answers are made up, so that every count of a report is known by hand."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from sqlalchemy import select

from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from db.models import Image, Run, RunState, Sighting, Snapshot
from db.models.base import now
from tests.pictures import write_folder
from trainer.checkpoint import VALIDATION_FILE, write_weights
from trainer.files import digest

TEMPERATURE = 2.0


def fill(project: Project, folder: Path, classes: Mapping[str, int]) -> dict[str, list[str]]:
    """Import so many labelled pictures of each class; gives their SHA-256s by class."""
    write_folder(folder, {name: range(count) for name, count in classes.items()})
    import_folder(project, folder, labels=True)
    return {
        name: [digest((folder / name / f"{seed}.jpg").read_bytes()) for seed in range(count)]
        for name, count in classes.items()
    }


def with_run(make_project: Callable[..., Project], folder: Path) -> Project:
    """Three classes, one without a picture, and some of none; a split, and a run that takes one Red for a Green."""
    settings = {"dataset__target": "10", "dataset__validation": "4", "dedup__descriptor": '"none"'}
    project = make_project("Red", "Green", "Blue", **settings)
    hashes = fill(project, folder, {"Red": 15, "Green": 5, "None of these": 2})
    split(project)
    with project.database.write() as session:
        first = session.scalars(select(Sighting).order_by(Sighting.id)).first()
        assert first is not None
        first.licence = "CC-BY-4.0"
    answers = dict.fromkeys(hashes["Red"][:3], ("Red", "Red")) | {hashes["Red"][3]: ("Red", "Green")}
    pretend(project, "0001-pretended", answers)
    return project


def pretend(
    project: Project,
    name: str,
    answers: Mapping[str, tuple[str, str]],
    *,
    train: Sequence[tuple[str, str]] = (),
    sure: float = 4.0,
) -> Path:
    """Make a finished run that held out these images: label and answer by SHA-256. `train`: SHA-256s with labels.

    The output of the answered class is `sure`, less a tiny bit for each image in turn; all others are 0.
    """
    classes = [c.name for c in project.settings.classes]
    folder = project.runs / name
    folder.mkdir(parents=True)
    held_out = sorted(answers)
    logits = torch.zeros(len(held_out), len(classes))
    for row, sha256 in enumerate(held_out):
        logits[row, classes.index(answers[sha256][1])] = sure - 0.01 * row
    labels = torch.tensor([classes.index(answers[sha256][0]) for sha256 in held_out])
    validation = write_weights(folder / VALIDATION_FILE, {"logits": logits, "labels": labels})
    weights = write_weights(folder / "model.safetensors", {"none": torch.zeros(1)})
    right = sum(label == answer for label, answer in answers.values()) / len(answers)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["path", "label", "split", "sha256"])
    rows.writerows(["", label, "train", sha256] for sha256, label in train)
    rows.writerows(["", label, "validation", sha256] for sha256, (label, _) in answers.items())
    (folder / "manifest.csv").write_text(text.getvalue())
    epochs = [
        {"epoch": n, "train_loss": 3 / n, "validation_loss": 2 / n, "validation_accuracy": right * n / 3}
        for n in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    options = {"arch": "pretended", "init": "/home/somebody/first.safetensors", "size": 32, "epochs": 3, "seed": 7}
    facts = {
        "classes": classes,
        "options": {**options, "recipe": {"name": "fast", "mirror": True, "epochs": None, "warm_up": 0.25}},
        "temperature": TEMPERATURE,
        "outside_below": 0.0,
        "bfloat16": False,
        "best_epoch": 3,
        "epochs": 3,
        "validation_accuracy": right,
        "validation_images": len(answers),
        "images_per_second": 12.5,
        "weights_sha256": weights,
        "validation_sha256": validation,
    }
    (folder / "run.json").write_text(json.dumps(facts))
    _note(project, name, classes, right, len(answers))
    return folder


def _note(project: Project, name: str, classes: list[str], accuracy: float, images: int) -> None:
    with project.database.write() as session:
        snapshot = session.scalars(select(Snapshot)).first() or Snapshot(
            content_sha256="0" * 64, seed=1, target=1, validation=1, classes=classes
        )
        session.add(snapshot)
        session.flush()
        run = Run(name=name, snapshot_id=snapshot.id, arch="pretended", options={}, classes=classes)
        run.state, run.finished_at = RunState.FINISHED, now()
        run.validation_accuracy, run.validation_images = accuracy, images
        session.add(run)


def number_of(project: Project, sha256: str) -> int:
    """Id of an image."""
    with project.database.read() as session:
        return session.scalars(select(Image.id).where(Image.sha256 == sha256)).one()
