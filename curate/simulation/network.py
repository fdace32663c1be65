"""What each round learns in the full mode: the whole network, as `curate train` would."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from curate.project import Project
from curate.simulation.replay import Learned
from curate.strategies.interface import Rows
from curate.training import options_for, options_from
from db.faults import fault
from db.files import write_atomically
from trainer import cache
from trainer.batches import cached_side
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest
from trainer.predict import Predictor
from trainer.run import train
from trainer.watch import Silent, Watcher


@dataclass(frozen=True, slots=True)
class Network:
    """A network that learns anew in each round, from the weights that `curate train` begins with.

    What a round came to is kept in `folder`: a simulation that was stopped goes on where it was, in the middle of a
    training, too. The runs themselves are given up as soon as they have answered.
    """

    project: Project
    manifest: Manifest
    seed: int
    folder: Path
    note: Callable[[str], None] = field(default=lambda _: None)
    """Shown beside the progress."""

    def learn(self, rows: Rows) -> Learned:
        """Train on these images of the pool and the whole validation side. Raises TrainerError."""
        pool = self.manifest.side(TRAIN)
        part = Manifest(self.manifest.classes, (*(pool[row] for row in rows), *self.manifest.side(VALIDATION)))
        options = options_for(self.project, len(rows), self.seed)
        told = part.fingerprint() + json.dumps(options.as_dict(), sort_keys=True)
        run = self.folder / hashlib.sha256(told.encode()).hexdigest()[:24]
        kept = _read(run.with_suffix(".npz"))
        if kept is not None:
            return kept
        pixels = self.project.private / "pixels"
        result = train(part, options, run, pixels, _Noted(self.note, f"{len(rows)} labels"))
        learned = self._answers(run, result.validation_accuracy)
        _write(run.with_suffix(".npz"), learned)
        fault("round.kept")
        shutil.rmtree(run)
        return learned

    def decode(self, watcher: Watcher) -> None:
        """Decode all images, if they are not yet, so that no round has to."""
        self._pixels(cached_side(options_from(self.project).size), watcher)

    def _pixels(self, side: int, watcher: Watcher) -> cache.Pixels:
        """All images: the pool, then validation, in the order in which `curate train` decodes them."""
        items: Sequence[Item] = [*self.manifest.side(TRAIN), *self.manifest.side(VALIDATION)]
        return cache.load(items, side, self.project.private / "pixels", watcher)

    def _answers(self, run: Path, accuracy: float) -> Learned:
        images = len(self.manifest.side(TRAIN))
        predictor = Predictor.load(run, options_from(self.project).device, pictures=images)
        logits, features = predictor.outputs(self._pixels(predictor.side, Silent())[:images])
        probabilities = functional.softmax(logits.double() / predictor.temperature, dim=1).numpy()
        scaled = StandardScaler().fit_transform(features.numpy())
        return Learned(accuracy, np.asarray(scaled, np.float32), probabilities)


class _Noted(Silent):
    """Shows how far a round's training has come."""

    def __init__(self, note: Callable[[str], None], what: str) -> None:
        self.note = note
        self.what = what

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Show it."""
        self.note(f"{self.what}, epoch {metrics['epoch']}")

    def saved(self, what: str) -> None:
        """Let tests stop it here."""
        fault(f"{what}.saved")


def _read(path: Path) -> Learned | None:
    """What a round came to, if it was finished before."""
    try:
        # Not by its path: of a damaged file numpy would leave the handle open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            return Learned(float(found["accuracy"]), found["embeddings"], found["probabilities"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _write(path: Path, learned: Learned) -> None:
    out = io.BytesIO()
    np.savez(out, accuracy=learned.accuracy, embeddings=learned.embeddings, probabilities=learned.probabilities)
    write_atomically(path, out.getvalue())
