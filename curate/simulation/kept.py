"""Finished curves, kept in the private folder: a simulation that was stopped goes on with those that are left."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import trainer
from curate import simulation, strategies
from curate.simulation.replay import Curve
from db.files import write_atomically

FOLDER = "simulations"
"""In the private folder."""
ROUNDS = "rounds"
"""Folder, beside the curves, of rounds that belong to no finished curve yet."""
_BESIDE = {"kept", "summary", "plot", "simulate", "modes"}
"""Modules that no curve depends on."""


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a curve depends on, beside the code and the libraries that computed it."""

    manifest: str
    """Fingerprint: images, labels, and sides of the split."""
    mode: str
    model: str
    """What learns in each round, and from what weights."""
    wanted: int
    strategy: str
    seed: int
    batch: int
    budget: int

    def name(self) -> str:
        """Name of its file."""
        told = json.dumps(asdict(self), sort_keys=True) + _surroundings(training=self.mode == "full")
        return f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.json"


@cache
def _surroundings(*, training: bool) -> str:
    """Tell the code and the libraries that a curve comes from: after a change of a strategy its old curves are gone."""
    found = hashlib.sha256()
    for package in (strategies, simulation, *([trainer] if training else [])):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            if path.stem not in _BESIDE:
                found.update(path.read_bytes())
    return f"{found.hexdigest()} {version('scikit-learn')} {version('numpy')}"


def read(folder: Path, setting: Setting) -> Curve | None:
    """The curve, if it was finished before."""
    try:
        found = json.loads((folder / setting.name()).read_text())
        return Curve(**{name: tuple(found[name]) for name in ("labels", "accuracy", "order")})
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: replayed again
        return None


def write(folder: Path, setting: Setting, curve: Curve) -> None:
    """Keep a finished curve. Raises StoreError."""
    write_atomically(folder / setting.name(), json.dumps(asdict(curve)).encode())


def discard_rounds(private: Path) -> None:
    """Give up all rounds that a stopped simulation would go on from: they tell what networks saw in images."""
    shutil.rmtree(private / FOLDER / ROUNDS, ignore_errors=True)
