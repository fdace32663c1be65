"""Out-of-fold probabilities by whole networks: of each fold's images by one that learned from all the other folds'."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.nn import functional

from curate.audit.kept import FOLDER
from curate.audit.labelled import Labelled
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.training import options_for
from curate.watching import watched
from trainer.discriminant import Numbers
from trainer.errors import WeightsError
from trainer.manifest import TRAIN, VALIDATION, Manifest
from trainer.options import TrainOptions
from trainer.outside import BANK_FILE
from trainer.predict import read_run, read_validation
from trainer.run import train


def retrained(project: Project, data: Labelled, progress: Progress = QUIET) -> Numbers:
    """Train a network a fold as `[train]` of `curate.toml` says, and give what each says of its own fold, (N, K).

    What was trained before is not trained again; what was stopped goes on. Raises TrainerError.
    """
    place = {item.sha256: row for row, item in enumerate(data.items)}
    found = np.zeros((len(data.items), len(data.classes)))
    every = np.unique(data.folds).tolist()
    for fold in every:
        sides = [VALIDATION if held else TRAIN for held in (data.folds == fold).tolist()]
        items = tuple(replace(item, split=side) for item, side in zip(data.items, sides, strict=True))
        manifest = Manifest(data.classes, items)
        progress.say(f"fold {fold + 1} of {len(every)}")
        folder = _trained(project, manifest, progress)
        said, temperature = read_validation(folder), read_run(folder)["temperature"]
        rows = [place[sha256] for sha256 in said.sha256]
        found[rows] = functional.softmax(said.logits.double() / temperature, dim=1).numpy()
    return found


def _trained(project: Project, manifest: Manifest, progress: Progress) -> Path:
    """Give the folder of a finished run on this manifest."""
    options = options_for(project, len(manifest.side(TRAIN)))
    folder = project.private / FOLDER / _name(manifest, options)
    try:
        read_run(folder)
    except WeightsError:  # not finished
        with watched(progress) as shown:
            train(manifest, options, folder, project.private / "pixels", shown)
        for file in ("model.safetensors", BANK_FILE):  # what it said is all that is asked of it
            (folder / file).unlink(missing_ok=True)
    return folder


def _name(manifest: Manifest, options: TrainOptions) -> str:
    """Tell one training from another: images, labels, sides, and all that it is told."""
    told = manifest.fingerprint() + json.dumps(options.as_dict(), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:24]
