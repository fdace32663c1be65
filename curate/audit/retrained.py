"""Out-of-fold outputs by whole networks: each fold's by one that neither learned from it nor was validated on it."""

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.audit.kept import FOLDER
from curate.audit.labelled import Labelled
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.training import options_for
from curate.watching import watched
from db.errors import DatasetError
from db.files import write_atomically
from trainer import cache
from trainer.discriminant import Numbers
from trainer.manifest import TRAIN, VALIDATION, Manifest
from trainer.predict import Predictor
from trainer.run import train

_FEWEST_FOLDS = 3


def retrained(project: Project, data: Labelled, progress: Progress = QUIET) -> Numbers:
    """Train a network a fold as `[train]` of `curate.toml` says, and give its outputs for its own fold, (N, K).

    It is validated on another fold: by what it is to judge it would choose its epoch and its head, and agree too often.
    What was trained before is not trained again; what was stopped goes on. Raises DatasetError where there are too few
    labels for three folds, and TrainerError.
    """
    every = np.unique(data.folds).tolist()
    if len(every) < _FEWEST_FOLDS:
        raise DatasetError("networks to judge by take three labelled images of a class at least; label more")
    found = np.zeros((len(data.items), len(data.classes)))
    for place, fold in enumerate(every):
        # Not the next: of a class of two images, which are in folds that follow each other, one is to be learned from.
        beside = every[(place + 2) % len(every)]
        progress.say(f"fold {place + 1} of {len(every)}")
        found[data.folds == fold] = _outputs(project, data, fold, beside, progress)
    return found


def _outputs(project: Project, data: Labelled, judged: int, beside: int, progress: Progress) -> NDArray[np.float32]:
    """Outputs for one fold's images, (N, K), of a network that was validated on another's; kept in place of its run."""
    sided = [
        (replace(item, split=VALIDATION if fold == beside else TRAIN), fold)
        for item, fold in zip(data.items, data.folds.tolist(), strict=True)
    ]
    mine = [item for item, fold in sided if fold == judged]
    learned = Manifest(data.classes, tuple(item for item, fold in sided if fold != judged))
    options = options_for(project, len(learned.side(TRAIN)))
    told = [learned.fingerprint(), json.dumps(options.as_dict(), sort_keys=True), *(item.sha256 for item in mine)]
    run = project.private / FOLDER / hashlib.sha256("\n".join(told).encode()).hexdigest()[:24]
    file = run.with_suffix(".npy")
    kept = _read(file, (len(mine), len(data.classes)))
    if kept is not None:
        return kept
    pixels = project.private / "pixels"
    with watched(progress) as shown:
        train(learned, options, run, pixels, shown)
        predictor = Predictor.load(run, options.device, "torch")
        found: NDArray[np.float32] = predictor.logits(cache.load(mine, predictor.side, pixels, shown)).numpy()
    out = io.BytesIO()
    np.save(out, found)
    write_atomically(file, out.getvalue())
    shutil.rmtree(run)
    return found


def _read(file: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    try:
        found: NDArray[np.float32] = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged: trained again
        return None
    return found if found.shape == shape else None
