"""`curate robustness`: what a run's accuracy becomes when pictures are scribbled on, hidden, blurred and the like."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate import runs
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.robustness_plot import draw
from curate.training import manifest_of
from curate.watching import watched
from db.errors import ConfigError
from db.files import write_atomically
from trainer import cache
from trainer.corrupt import CORRUPTIONS
from trainer.intervals import wilson
from trainer.manifest import TRAIN, VALIDATION, labels_of
from trainer.predict import Predictor
from trainer.robustness import Robustness, measure


@dataclass(frozen=True, slots=True)
class Strength:
    """Accuracy under a corruption at one strength, in its unit, and Wilson's interval of 95 %."""

    strength: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RobustnessReport:
    """What a run bears."""

    run: str
    images: int
    clean: float
    """Accuracy on the pictures as they are."""
    strengths: dict[str, list[Strength]]
    """By corruption, from mild to hard."""
    plot: Path

    @property
    def corruptions(self) -> dict[str, float]:
        """Mean accuracy over the strengths of each corruption."""
        return {name: sum(one.accuracy for one in found) / len(found) for name, found in self.strengths.items()}


def measure_run(
    project: Project,
    run: str | None = None,
    only: Sequence[str] = (),
    plot: Path | None = None,
    progress: Progress = QUIET,
) -> RobustnessReport:
    """Measure a run on the images it was validated on, and draw what comes out.

    All corruptions unless `only` names some. The plot, a PNG, goes into the run's folder unless told. Raises
    ConfigError for a name or a file that cannot be, DatasetError when there is no run or an image of it was forgotten,
    and TrainerError.
    """
    names = _named(only)
    _check_plot(plot)
    with project.database.read() as session:
        chosen = runs.choose(session, run, [c.name for c in project.settings.classes])
    predictor = Predictor.load(project.runs / chosen.name)
    with watched(progress) as shown:
        manifest = manifest_of(project, chosen.snapshot_id)
        train, held_out = manifest.side(TRAIN), manifest.side(VALIDATION)
        # Both sides, since it is the file that training left: nothing is decoded again.
        pixels = cache.load([*train, *held_out], predictor.side, project.private / "pixels", shown)
        pixels = pixels[len(train) :]
        found = measure(predictor, pixels, labels_of(held_out), names, shown)
    report = _report(chosen.name, found, plot or project.runs / chosen.name / "robustness.png")
    write_atomically(report.plot, draw(report, pixels[0], 1 / len(predictor.classes)))
    return report


def _named(only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in CORRUPTIONS:
            raise ConfigError(f"no corruption {name!r}; there is: {', '.join(CORRUPTIONS)}")
    return [name for name in CORRUPTIONS if name in only or not only]


def _check_plot(plot: Path | None) -> None:
    if plot is not None and (plot.suffix.lower() != ".png" or plot.is_dir()):
        raise ConfigError(f"cannot draw into {plot}; name a file that ends in .png")


def _report(run: str, found: Robustness, plot: Path) -> RobustnessReport:
    strengths: dict[str, list[Strength]] = {}
    for one in found.measured:
        accuracy = Strength(one.strength, one.right / found.images, *wilson(one.right, found.images))
        strengths.setdefault(one.corruption, []).append(accuracy)
    return RobustnessReport(run, found.images, found.clean / found.images, strengths, plot)
