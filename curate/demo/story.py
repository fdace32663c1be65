"""`curate demo`: the whole loop on drawn pictures, through the real parts, without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curate import edit
from curate import project as projects
from curate.config import FILE_NAME
from curate.crawl.crawl import crawl
from curate.crawl.plan import targets
from curate.crawl.report import CrawlReport
from curate.crawl.sources import Credentials, make
from curate.dedup.search import dedup
from curate.demo.annotator import Annotator
from curate.demo.web import serve
from curate.demo.world import World
from curate.labelling import Labelling
from curate.loop import loop
from curate.predicting import predict_files
from curate.progress import Progress
from curate.project import Project
from curate.rounds.account import RoundReport
from curate.studio import Environment
from db.errors import ConfigError
from db.files import write_atomically

_ALWAYS = {
    "dataset.name": "demo",
    "crawl.allow_private_addresses": "true",
    "crawl.sources": '["openverse"]',
    "train.arch": "resnet18",
    "train.init": "none",
    "dedup.descriptor": "none",
    "train.device": "cpu",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much the demo does. The default takes six minutes on two cores."""

    rounds: int = 2
    batch: int = 260
    """Labels a round."""
    collect: int = 52
    """Different images a class: more than its target, since some show another guitar."""
    originals: int = 50
    """Of these, drawings of their own."""
    held_out: int = 12
    """Drawings a class that no search finds and nobody labels: each round's run is measured on the same ones."""
    target: int = 40
    validation: int = 8
    epochs: int = 30
    size: int = 64

    def settings(self) -> dict[str, str]:
        """Keys of `curate.toml`. `validation` first: it must be below the target at every moment."""
        return {
            "dataset.validation": str(self.validation),
            "dataset.target": str(self.target),
            "train.epochs": str(self.epochs),
            "train.size": str(self.size),
        }


FULL = Scale()


@dataclass(frozen=True, slots=True)
class DemoRound:
    """A round of the loop; `validation_accuracy` is taken on the held-out drawings, the same in every round."""

    round: int
    labelled: int
    classes_complete: int
    validation_accuracy: float
    prelabels_accepted: float | None
    run: str


@dataclass
class DemoReport:
    """What the demo came to."""

    folder: Path
    crawl: CrawlReport
    duplicates: int
    """Near-duplicates that stand behind their group's keeper."""
    held_out: int
    rounds: list[DemoRound] = field(default_factory=list)


def demo(folder: Path, seed: int, cache: Path, progress: Progress, scale: Scale = FULL) -> DemoReport:
    """Carry the loop through its rounds in a new project at `folder`. Raises ConfigError unless that is empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; name a new folder for the demo")
    projects.create(folder, "guitars", ()).database.close()
    for key, value in (_ALWAYS | scale.settings()).items():
        edit.set_value(folder / FILE_NAME, key, value)
    with _project(folder) as project:
        queries = {c.name: project.settings.queries(c.name) for c in project.settings.classes}
    world = World(seed, queries, scale.originals)
    with serve(world) as url:
        edit.set_value(folder / FILE_NAME, "crawl.openverse.url", url)
        with _project(folder) as project:
            report = _collect(project, list(queries), scale, progress)
    for number, (name, data) in enumerate(world.held_out(scale.held_out)):
        (folder / "held-out" / name).mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "held-out" / name / f"{number}.jpg", data)
    report.held_out = scale.held_out * len(queries)
    with _project(folder) as project:
        desk = Labelling(project, Environment(cache, None))
        try:
            for done in _rounds(project, desk, world, scale, progress):
                report.rounds.append(_measured(project, done, progress))
        finally:
            desk.stop()
    return report


@contextmanager
def _project(folder: Path) -> Iterator[Project]:
    project = projects.open_project(folder)
    try:
        yield project
    finally:
        project.database.close()


def _collect(project: Project, classes: list[str], scale: Scale, progress: Progress) -> DemoReport:
    names = list(project.settings.crawl.sources)
    wanted = targets(project, classes, names, scale.collect)
    finders = [make(name, project.settings.crawl, Credentials()) for name in names]
    crawled = crawl(project, wanted, finders, progress=progress)
    groups = dedup(project, progress).groups
    return DemoReport(project.root, crawled, sum(len(group.members) - 1 for group in groups), 0)


def _rounds(project: Project, desk: Labelling, world: World, scale: Scale, progress: Progress) -> Iterator[RoundReport]:
    standing = desk.start(progress)
    assert standing.project is not None  # noqa: S101 - `start` has just made it
    classes = [c.name for c in project.settings.classes]
    most = scale.rounds * scale.batch
    with Annotator(desk.server(), standing.project, world.truth, classes, world.seed, most) as annotator:
        yield from loop(project, desk, scale.rounds, scale.batch, progress, pause=annotator.work)


def _measured(project: Project, done: RoundReport, progress: Progress) -> DemoRound:
    held_out = project.root / "held-out"
    answers = predict_files(project, [str(held_out)], done.run, progress).predictions
    right = sum(answer.label == Path(answer.path).parent.name for answer in answers)
    accuracy = right / len(answers)
    return DemoRound(done.round, done.labelled, done.complete, accuracy, done.prelabels_accepted, done.run)
