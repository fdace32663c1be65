"""How each round learns: a head on features that were computed once, or the whole network each time."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from curate.embedding import features_of, load_embedder
from curate.progress import Progress
from curate.project import Project
from curate.simulation.head import Linear
from curate.simulation.kept import ROUNDS
from curate.simulation.network import Network
from curate.simulation.replay import Learn
from curate.training import options_for
from curate.watching import watched
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest, labels_of

Mode = Literal["head", "full"]


class Learners(Protocol):
    """What learns, for every seed."""

    @property
    def name(self) -> str:
        """Tell its curves from those of others."""

    def of(self, seed: int, note: Callable[[str], None]) -> Learn:
        """Give what learns in the rounds of a seed; `note` shows how far it is."""

    def finished(self, seed: int) -> None:
        """Give up what was kept for a seed in case it was stopped."""


def learners(project: Project, manifest: Manifest, mode: Mode, folder: Path, progress: Progress) -> Learners:
    """Make ready what learns, and compute what all rounds share. Raises TrainerError."""
    if mode == "full":
        return _networks(project, manifest, folder / ROUNDS, progress)
    embedder = load_embedder(project)
    # The pool, then validation: the order in which `curate train` decodes them, so that one cache serves both.
    items: list[Item] = [*manifest.side(TRAIN), *manifest.side(VALIDATION)]
    features = features_of(project, embedder, items, progress)
    labels, held = (np.array(labels_of(manifest.side(side)), dtype=np.int64) for side in (TRAIN, VALIDATION))
    return _Heads(embedder.name, Linear.of(features, labels, held, len(manifest.classes)))


@dataclass(frozen=True, slots=True)
class _Heads:
    name: str
    linear: Linear

    def of(self, seed: int, note: Callable[[str], None]) -> Learn:  # noqa: ARG002 - a head draws nothing, and is quick
        return self.linear.learn

    def finished(self, seed: int) -> None:
        pass


def _networks(project: Project, manifest: Manifest, folder: Path, progress: Progress) -> Learners:
    options = options_for(project, 0, seed=0)
    weights = Path(options.init)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else options.init
    told = json.dumps(options.as_dict() | {"init": sha256}, sort_keys=True)
    name = f"full-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    mine = f"{name}-{manifest.fingerprint()[:16]}"
    for other in folder.glob("full-*"):
        if other.name != mine:  # of a simulation that nobody can go on with
            shutil.rmtree(other)
    found = _Networks(project, manifest, name, folder / mine)
    with watched(progress) as shown:
        found.network(0, lambda _: None).decode(shown)
    return found


@dataclass(frozen=True, slots=True)
class _Networks:
    project: Project
    manifest: Manifest
    name: str
    folder: Path

    def of(self, seed: int, note: Callable[[str], None]) -> Learn:
        return self.network(seed, note).learn

    def network(self, seed: int, note: Callable[[str], None]) -> Network:
        return Network(self.project, self.manifest, seed, self._rounds(seed), note)

    def finished(self, seed: int) -> None:
        shutil.rmtree(self._rounds(seed), ignore_errors=True)

    def _rounds(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"
