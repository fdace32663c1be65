"""Labels flipped on purpose among real photographs: how many `curate audit` finds, and how often it errs.

Photographs are the user's: `CURATE_BENCH_PHOTOGRAPHS` names a folder with a subfolder a class, `CURATE_BENCH_WEIGHTS` a
safetensors file with SqueezeNet's weights. With `CURATE_BENCH_TRAIN` set to a size in pixels, a run learns from each
set of flipped labels, a few minutes each on two cores, and the audit is made on its features as well. Labels that were
wrong before count as right here, so precision is a little better than it says.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score
from sqlalchemy import select

from benchmarks.timing import figure
from curate import project as projects
from curate.audit.audit import Asked, audit
from curate.audit.findings import Finding, Kind
from curate.dedup.search import dedup
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from db.labels import Answer, record
from db.models import Annotation, Image

_SHARES = (0.05, 0.1)
_SEEDS = (1, 2, 3)
_SIZE = "224"


def run() -> Iterator[str]:
    """Yield a figure a way of flipping, share and seed."""
    given = os.environ.get("CURATE_BENCH_PHOTOGRAPHS")
    if not given:
        yield "set CURATE_BENCH_PHOTOGRAPHS to a folder of photographs, a subfolder a class: some labels are flipped"
        return
    with tempfile.TemporaryDirectory() as folder:
        project = _project(Path(folder) / "project", Path(given))
        labels, ways = _ways(project)
        yield figure("labels as they are", images=len(labels), flagged=len(_found(project, Asked())))
        for way, weights in ways.items():
            for share in _SHARES:
                for seed in _SEEDS:
                    flipped = _flip(project, labels, weights, share, seed)
                    name = f"{share:.0%} flipped {way}, seed {seed}"
                    yield _measured(project, f"{name}, pretrained features", Asked(pretrained=True), flipped)
                    if (size := os.environ.get("CURATE_BENCH_TRAIN")) and seed == _SEEDS[0]:
                        yield _trained(project, name, int(size), flipped)
                    _say(project, {image: labels[image] for image in flipped})
        project.database.close()


def _project(folder: Path, photographs: Path) -> Project:
    classes = sorted(path.name for path in photographs.iterdir() if path.is_dir())
    projects.create(folder, None, classes).database.close()
    weights = os.environ.get("CURATE_BENCH_WEIGHTS")
    for key, value in {
        "dataset.target": "10000",
        "dataset.validation": "2000",
        "train.arch": "squeezenet1_1",
        "train.size": _SIZE,
        "train.init": weights or "none",
        "dedup.descriptor": weights or "none",
        "quality.enabled": "false",
    }.items():
        set_value(folder / "curate.toml", key, value)
    project = projects.open_project(folder)
    import_folder(project, photographs, labels=True)
    dedup(project)
    return project


Weights = Mapping[str, Mapping[str, float]]
"""How often a class is taken for another."""


def _ways(project: Project) -> tuple[dict[int, str], dict[str, Weights]]:
    """The labels as they are, and what each is flipped to: any other class, or those that it is confused with."""
    every = _found(project, Asked(threshold=0.0, pretrained=True))
    labels = {finding.id: finding.label for finding in every}
    names = sorted(set(labels.values()))
    taken = Counter((finding.label, finding.suggested) for finding in every if finding.score > 0.5)  # noqa: PLR2004
    return labels, {
        "at random": {name: {other: float(other != name) for other in names} for name in names},
        "along confusions": {name: {other: float(taken[name, other]) for other in names} for name in names},
    }


def _found(project: Project, asked: Asked) -> list[Finding]:
    return [issue.finding for issue in audit(project, asked).issues if issue.finding.kind is Kind.LABEL]


def _flip(project: Project, labels: Mapping[int, str], weights: Weights, share: float, seed: int) -> set[int]:
    """Flip a share of the labels; give the images."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(sorted(labels), round(share * len(labels)), replace=False).tolist()
    said = {}
    for image in chosen:
        others = weights[labels[image]]
        chances = np.array([*others.values()])
        said[image] = str(rng.choice([*others], p=chances / chances.sum()))
    _say(project, said)
    return set(chosen)


def _say(project: Project, said: Mapping[int, str]) -> None:
    """Let the import say so of these images and their copies."""
    with project.database.write() as session:
        ids = project.classes(session)
        images = {image.id: image for image in session.scalars(select(Image))}
        groups = {images[number].group_id: name for number, name in said.items() if images[number].group_id}
        answers = []
        for a in session.scalars(select(Annotation)):
            name = said.get(a.image_id) or groups.get(images[a.image_id].group_id)
            if name is not None:
                answers.append(Answer(a.key, a.origin, a.image_id, a.state, ids[name], a.answered_at))
        record(session, answers)


def _trained(project: Project, name: str, size: int, flipped: set[int]) -> str:
    split(project)
    run = train_run(project, options_from(project, size=size)).run
    return _measured(project, f"{name}, features of a run at {size} that learned from them", Asked(run), flipped)


def _measured(project: Project, name: str, asked: Asked, flipped: set[int]) -> str:
    by_default = {finding.id for finding in _found(project, asked)}
    every = _found(project, replace(asked, threshold=0.0))
    hit = len(by_default & flipped)
    truth = [finding.id in flipped for finding in every]
    return figure(
        name,
        average_precision=float(average_precision_score(truth, [finding.score for finding in every])),
        flipped=len(flipped),
        flagged=len(by_default),
        precision=hit / max(1, len(by_default)),
        recall=hit / len(flipped),
    )
