"""`curate simulate`: the loop replayed on labels that exist, to see which strategy would have needed fewest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from curate import strategies
from curate.embedding import features_of, load_embedder
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.simulation import kept, plot
from curate.simulation.head import Head
from curate.simulation.kept import Setting
from curate.simulation.replay import Curve, Replayed, replay
from curate.simulation.summary import ALLOWED, Curves, Saved, saved
from curate.split import latest_snapshot
from curate.training import manifest_of
from db.errors import ConfigError, DatasetError
from db.faults import fault
from db.files import write_atomically
from trainer.features import Features
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest, labels_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What to simulate. `budget` None is the whole pool; random is simulated whether it is named or not."""

    strategies: Sequence[str] = ()
    """All there are unless named."""
    seeds: int = 5
    batch: int = 50
    budget: int | None = None

    def names(self) -> list[str]:
        """Strategies to simulate. Raises ConfigError for one that is not there."""
        for name in self.strategies:
            strategies.named(name)
        wanted = {strategies.RANDOM, *self.strategies} if self.strategies else set(strategies.STRATEGIES)
        return [name for name in strategies.STRATEGIES if name in wanted]


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What came out."""

    snapshot: int
    pool: int
    """Images that could be labelled: the train side of the split."""
    validation: int
    whole: float
    """Accuracy from the whole pool."""
    curves: Curves
    orders: dict[str, dict[int, list[int]]]
    """Ids of images as they were labelled, by strategy and seed."""
    saved: list[Saved]
    plot: Path

    @property
    def target(self) -> float:
        """Accuracy that counts as that of the whole pool."""
        return self.whole - ALLOWED


def simulate(
    project: Project, asked: Asked, output: Path | None = None, progress: Progress = QUIET
) -> SimulationReport:
    """Replay the labelling of the present split's train side; its validation side tells how good each round's model is.

    Each seed begins every strategy with the same image of each class. Curves are kept as they are finished: what was
    stopped goes on, and what is asked again is there at once. The plot goes into the project's folder unless told.
    Raises ConfigError, DatasetError when there is no split that will do, and TrainerError.
    """
    names = asked.names()
    plot.check(output)
    with project.database.read() as session:
        snapshot = latest_snapshot(session)
        number = None if snapshot is None else snapshot.id
    if number is None:
        raise DatasetError("there is no split to replay yet; make one with `curate split`")
    manifest = manifest_of(project, number)
    budget = _budget(manifest, asked)
    embedder = load_embedder(project)
    data = _replayed(project, manifest, features_of(project, embedder, _items(manifest), progress))
    settings = [
        Setting(manifest.fingerprint(), embedder.name, data.wanted, name, seed, asked.batch, budget)
        for name in names
        for seed in range(1, asked.seeds + 1)
    ]
    curves = _curves(project.private / kept.FOLDER, data, settings, progress)
    answers = Head(data.classes).learn(data.features, data.labels).probabilities(data.validation).argmax(1)
    whole = float((answers == data.validation_labels).mean())
    ids = [int(item.id) for item in manifest.side(TRAIN)]
    report = SimulationReport(
        number,
        len(data.labels),
        len(data.validation_labels),
        whole,
        curves,
        {
            name: {seed: [ids[row] for row in one.order] for seed, one in found.items()}
            for name, found in curves.items()
        },
        saved(curves, len(data.labels), whole),
        output or project.root / "simulation.png",
    )
    write_atomically(report.plot, plot.draw(report.curves, report.whole, report.pool, report.validation))
    return report


def _items(manifest: Manifest) -> list[Item]:
    """The pool, then validation: the order in which `curate train` decodes them, so that one cache serves both."""
    return [*manifest.side(TRAIN), *manifest.side(VALIDATION)]


def _budget(manifest: Manifest, asked: Asked) -> int:
    """Labels to go up to. Raises ManifestError or DatasetError for a split that tells nothing, and ConfigError."""
    manifest.check()
    pool = manifest.side(TRAIN)
    first = len({item.label for item in pool})
    budget = len(pool) if asked.budget is None else asked.budget
    if not first < budget <= len(pool):
        raise ConfigError(
            f"a budget of {budget} labels; it takes more than the {first} of one image a class,"
            f" and the split has {len(pool)} images to learn from"
        )
    return budget


def _replayed(project: Project, manifest: Manifest, features: Features) -> Replayed:
    labels = np.array(labels_of(manifest.side(TRAIN)), dtype=np.int64)
    pool = features[: len(labels)]
    scaler = StandardScaler().fit(pool)
    return Replayed(
        np.asarray(scaler.transform(pool), np.float32),
        labels,
        np.asarray(scaler.transform(features[len(labels) :]), np.float32),
        np.array(labels_of(manifest.side(VALIDATION)), dtype=np.int64),
        len(manifest.classes),
        project.settings.dataset.target - project.settings.dataset.validation,
    )


def _curves(folder: Path, data: Replayed, settings: Sequence[Setting], progress: Progress) -> Curves:
    """Curves by strategy and seed. A seed of all strategies before the next one: what is stopped can be compared."""
    read = {setting: kept.read(folder, setting) for setting in settings}
    found = {setting: curve for setting, curve in read.items() if curve is not None}
    missing = sorted((setting for setting in settings if setting not in found), key=lambda one: one.seed)
    if found:
        progress.say(f"{len(found)} of {len(settings)} curves are there from before")
    if missing:
        with progress.task("simulating", sum(setting.budget for setting in missing), "labels") as task:
            for setting in missing:
                task.note(f"{setting.strategy}, seed {setting.seed}")
                strategy = strategies.named(setting.strategy)
                curve = replay(data, strategy, setting.seed, setting.batch, setting.budget, task.advance)
                kept.write(folder, setting, curve)
                fault("curve.kept")
                found[setting] = curve
    by_strategy: dict[str, dict[int, Curve]] = {}
    for setting in settings:
        by_strategy.setdefault(setting.strategy, {})[setting.seed] = found[setting]
    return by_strategy
