"""Labels flipped on purpose among real photographs: how many `curate audit` finds, and how often it errs.

Photographs are the user's: `CURATE_BENCH_PHOTOGRAPHS` names a folder with a subfolder a class, `CURATE_BENCH_WEIGHTS` a
safetensors file with SqueezeNet's weights. With `CURATE_BENCH_TRAIN` set to a size in pixels, a run learns from flipped
labels, too, and its features are judged by: some minutes on two cores for each way and share. Labels that were wrong
before count as right here, so precision is a little better than it says.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix

from benchmarks.timing import figure
from curate import project as projects
from curate.audit.labelled import Labelled, labelled_keepers
from curate.audit.scores import Scores, judge, out_of_fold
from curate.dedup.search import dedup
from curate.edit import set_value
from curate.embedding import features_of, load_embedder
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.training import options_from
from trainer.embed import Embedder
from trainer.features import Features
from trainer.manifest import TRAIN, VALIDATION, Manifest
from trainer.predict import Predictor
from trainer.run import train

_SHARES = (0.05, 0.1)
_SEEDS = (1, 2, 3, 4, 5)
_SIZE = "224"


def run() -> Iterator[str]:
    """Yield a figure a way of flipping, share and seed."""
    given = os.environ.get("CURATE_BENCH_PHOTOGRAPHS")
    if not given:
        yield "set CURATE_BENCH_PHOTOGRAPHS to a folder of photographs, a subfolder a class: some labels are flipped"
        return
    with tempfile.TemporaryDirectory() as folder:
        project = _project(Path(folder) / "project", Path(given))
        with project.database.read() as session:
            data = labelled_keepers(project, session)
        features = features_of(project, load_embedder(project, deep=True), data.items)
        scores = _judged(data, features)
        yield figure("labels as they are", images=len(data.items), flagged=int(scores.flagged.sum()))
        confused = confusion_matrix(data.labels, scores.probabilities.argmax(1)).astype(np.float64)
        for way, weights in (("at random", np.ones_like(confused)), ("along confusions", confused)):
            for share in _SHARES:
                for seed in _SEEDS:
                    flipped = _flip(data, weights, share, seed)
                    name = f"{share:.0%} flipped {way}, seed {seed}"
                    yield _measured(name, data, flipped, features)
                    if (size := os.environ.get("CURATE_BENCH_TRAIN")) and seed == _SEEDS[0]:
                        seen = _features_of_a_run(project, flipped, int(size))
                        yield _measured(f"{name}, features of a run that learned from them", data, flipped, seen)
        project.database.close()


def _project(folder: Path, photographs: Path) -> Project:
    classes = sorted(path.name for path in photographs.iterdir() if path.is_dir())
    projects.create(folder, None, classes).database.close()
    weights = os.environ.get("CURATE_BENCH_WEIGHTS", "none")
    for key, value in {
        "train.arch": "squeezenet1_1",
        "train.size": _SIZE,
        "train.init": weights,
        "dedup.descriptor": weights,
        "quality.enabled": "false",
    }.items():
        set_value(folder / "curate.toml", key, value)
    project = projects.open_project(folder)
    import_folder(project, photographs, labels=True)
    dedup(project)
    return project


def _flip(data: Labelled, weights: NDArray[np.float64], share: float, seed: int) -> Labelled:
    """Flip a share of the labels, to each class as often as `weights` of the right one's row say."""
    rng = np.random.default_rng(seed)
    labels = data.labels.copy()
    for row in rng.choice(len(labels), round(share * len(labels)), replace=False):
        chances = weights[labels[row]] * (np.arange(len(weights)) != labels[row])
        labels[row] = rng.choice(len(weights), p=chances / chances.sum())
    items = tuple(replace(item, label=label) for item, label in zip(data.items, labels.tolist(), strict=True))
    return Labelled(data.classes, items, data.folds)


def _judged(data: Labelled, features: Features) -> Scores:
    return judge(data.labels, out_of_fold(features, data.labels, data.folds, features[:0])[0])


def _measured(name: str, data: Labelled, flipped: Labelled, features: Features) -> str:
    scores, wrong = _judged(flipped, features), flipped.labels != data.labels
    hits = int((scores.flagged & wrong).sum())
    return figure(
        name,
        average_precision=float(average_precision_score(wrong, scores.wrong)),
        precision=hits / max(1, int(scores.flagged.sum())),
        recall=hits / int(wrong.sum()),
        flipped=int(wrong.sum()),
        flagged=int(scores.flagged.sum()),
    )


def _features_of_a_run(project: Project, flipped: Labelled, size: int) -> Features:
    """Features by a network that learned from four fifths of these labels, and chose its epoch by the rest."""
    sides = [VALIDATION if fold == 0 else TRAIN for fold in flipped.folds.tolist()]
    items = tuple(replace(item, split=side) for item, side in zip(flipped.items, sides, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        train(
            Manifest(flipped.classes, items), options_from(project, size=size), Path(folder), project.private / "pixels"
        )
        run = Predictor.load(Path(folder), backend="torch")
        seen = Embedder(Path(folder).name, run.model, run.size, run.precision, deep=True)
        return features_of(project, seen, flipped.items)
