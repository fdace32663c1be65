"""`curate simulate`: the loop replayed on labels that exist, to see which strategy would have needed fewest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from curate import strategies
from curate.progress import QUIET, Progress, Task
from curate.project import Project
from curate.simulation import kept, plot
from curate.simulation.kept import Setting
from curate.simulation.modes import Learners, Mode, learners
from curate.simulation.replay import Curve, Replayed, replay
from curate.simulation.summary import ALLOWED, Curves, Mean, Saved, mean_of, saved
from curate.split import latest_snapshot
from curate.training import manifest_of
from db.errors import ConfigError, DatasetError
from db.faults import fault
from db.files import write_atomically
from trainer.manifest import TRAIN, VALIDATION, Manifest, labels_of

_WHOLE = "all"
"""Stands for a strategy where all labels are learned from."""
_FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What to simulate. `budget` None is the whole pool; random is simulated whether it is named or not."""

    strategies: Sequence[str] = ()
    """All there are unless named."""
    seeds: int = 5
    batch: int = 50
    budget: int | None = None
    mode: Mode = "head"

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
    mode: Mode
    pool: int
    """Images that could be labelled: the train side of the split."""
    validation: int
    wholes: Mapping[int, float]
    """Accuracy from the whole pool, by seed: a network that learns anew from the same labels is another one."""
    curves: Curves
    orders: dict[str, dict[int, list[int]]]
    """Ids of images as they were labelled, by strategy and seed."""
    saved: list[Saved]
    plot: Path

    @property
    def whole(self) -> Mean:
        """Accuracy from the whole pool."""
        return mean_of(list(self.wholes.values()))

    @property
    def target(self) -> float:
        """Accuracy that counts as that of the whole pool, on average: each seed has its own."""
        return self.whole.value - ALLOWED


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
    pool = manifest.side(TRAIN)
    folder = project.private / kept.FOLDER
    data = _replayed(project, manifest)
    run = _Run(folder, data, learners(project, manifest, asked.mode, folder, progress), progress)
    one = Setting(manifest.fingerprint(), asked.mode, run.learners.name, data.wanted, "", 0, asked.batch, budget)
    seeds = range(_FIRST_SEED, _FIRST_SEED + asked.seeds)
    wholes = {seed: run.whole(replace(one, strategy=_WHOLE, seed=seed, batch=0, budget=len(pool))) for seed in seeds}
    curves = run.curves([replace(one, strategy=name, seed=seed) for name in names for seed in seeds])
    for seed in seeds:
        run.learners.finished(seed)
    ids = [int(item.id) for item in pool]
    report = SimulationReport(
        number,
        asked.mode,
        len(pool),
        len(manifest.side(VALIDATION)),
        wholes,
        curves,
        {
            name: {seed: [ids[row] for row in curve.order] for seed, curve in found.items()}
            for name, found in curves.items()
        },
        saved(curves, len(pool), wholes),
        output or project.root / "simulation.png",
    )
    write_atomically(report.plot, plot.draw(report.curves, report.whole.value, report.pool, report.validation))
    return report


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


def _replayed(project: Project, manifest: Manifest) -> Replayed:
    labels = np.array(labels_of(manifest.side(TRAIN)), dtype=np.int64)
    settings = project.settings.dataset
    return Replayed(labels, len(manifest.classes), settings.target - settings.validation)


@dataclass(frozen=True, slots=True)
class _Run:
    """One simulation at work."""

    folder: Path
    data: Replayed
    learners: Learners
    progress: Progress

    def curves(self, settings: Sequence[Setting]) -> Curves:
        """Curves by strategy and seed. A seed of all strategies before the next: what is stopped can be compared."""
        read = {setting: kept.read(self.folder, setting) for setting in settings}
        found = {setting: curve for setting, curve in read.items() if curve is not None}
        missing = sorted((setting for setting in settings if setting not in found), key=lambda one: one.seed)
        if found:
            self.progress.say(f"{len(found)} of {len(settings)} curves are there from before")
        if missing:
            with self.progress.task("simulating", sum(setting.budget for setting in missing), "labels") as task:
                for seed, of_seed in groupby(missing, key=lambda one: one.seed):
                    for setting in of_seed:
                        found[setting] = self._curve(setting, task)
                    self.learners.finished(seed)
        by_strategy: dict[str, dict[int, Curve]] = {}
        for setting in settings:
            by_strategy.setdefault(setting.strategy, {})[setting.seed] = found[setting]
        return by_strategy

    def _curve(self, setting: Setting, task: Task) -> Curve:
        what = f"{setting.strategy}, seed {setting.seed}"
        task.note(what)
        learn = self.learners.of(setting.seed, lambda more: task.note(f"{what}, {more}"))
        choose = strategies.named(setting.strategy).choose
        curve = replay(self.data, learn, choose, setting.seed, setting.batch, setting.budget, task.advance)
        kept.write(self.folder, setting, curve)
        fault("curve.kept")
        return curve

    def whole(self, setting: Setting) -> float:
        """Accuracy from all labels, with one seed; a round like any other, which its strategies share."""
        found = kept.read(self.folder, setting)
        if found is None:
            every = np.arange(len(self.data.labels))
            with self.progress.task(f"learning from all labels, seed {setting.seed}", None, "rounds") as task:
                accuracy = self.learners.of(setting.seed, task.note)(every).accuracy
            found = Curve((len(every),), (accuracy,), tuple(every.tolist()))
            kept.write(self.folder, setting, found)
        return found.accuracy[0]
