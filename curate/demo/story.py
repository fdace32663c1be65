"""`curate demo`: the whole loop on drawn pictures, through the real parts, without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curate import edit
from curate import project as projects
from curate.config import FILE_NAME
from curate.crawl.crawl import CrawlReport, crawl
from curate.crawl.plan import targets
from curate.crawl.sources import make
from curate.dedup.search import dedup
from curate.demo.annotator import Annotator
from curate.demo.web import serve
from curate.demo.world import World
from curate.labelling import Environment, Labelling
from curate.loop import Round, loop
from curate.predicting import predict_files
from curate.progress import Progress
from curate.project import Project
from db.errors import ConfigError
from db.files import write_atomically

ROUNDS = 2
_BATCH = 260
_COLLECT = 56
"""Images a class: more than its target, since some show another guitar and some are copies."""
_ORIGINALS = 50
_HELD_OUT = 12
"""Drawings a class that no search finds and nobody labels: each round's run is measured on the same ones."""
_SETTINGS = {
    "dataset.name": "demo",
    "dataset.validation": "8",
    "dataset.target": "40",
    "crawl.allow_private_addresses": "true",
    "train.arch": "resnet18",
    "train.init": "none",
    "train.size": "80",
    "train.epochs": "30",
    "train.device": "cpu",
}


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


def demo(folder: Path, seed: int, cache: Path, progress: Progress) -> DemoReport:
    """Carry the loop through two rounds in a new project at `folder`. Raises ConfigError unless that is empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; name a new folder for the demo")
    projects.create(folder, "guitars", ()).database.close()
    for key, value in _SETTINGS.items():
        edit.set_value(folder / FILE_NAME, key, value)
    with _project(folder) as project:
        queries = {c.name: project.settings.queries(c.name) for c in project.settings.classes}
    world = World(seed, queries, _ORIGINALS)
    with serve(world) as url:
        edit.set_value(folder / FILE_NAME, "crawl.openverse.url", url)
        with _project(folder) as project:
            report = _collect(project, list(queries), progress)
    for number, (name, data) in enumerate(world.held_out(_HELD_OUT)):
        (folder / "held-out" / name).mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "held-out" / name / f"{number}.jpg", data)
    report.held_out = _HELD_OUT * len(queries)
    with _project(folder) as project:
        _label_and_learn(project, Labelling(project, Environment(cache, None)), world, report, progress)
    return report


@contextmanager
def _project(folder: Path) -> Iterator[Project]:
    project = projects.open_project(folder)
    try:
        yield project
    finally:
        project.database.close()


def _collect(project: Project, classes: list[str], progress: Progress) -> DemoReport:
    names = list(project.settings.crawl.sources)
    wanted = targets(project, classes, names, _COLLECT)
    crawled = crawl(project, wanted, [make(name, project.settings) for name in names], progress)
    groups = dedup(project, progress).groups
    return DemoReport(project.root, crawled, sum(len(group.members) - 1 for group in groups), 0)


def _label_and_learn(project: Project, desk: Labelling, world: World, report: DemoReport, progress: Progress) -> None:
    standing = desk.start(progress)
    assert standing.project is not None  # noqa: S101 - `start` has just made it
    classes = [c.name for c in project.settings.classes]
    most = ROUNDS * _BATCH
    try:
        with Annotator(desk.server(), standing.project, world.truth, classes, world.seed, most) as annotator:
            for done in loop(project, desk, ROUNDS, _BATCH, progress, pause=annotator.work):
                report.rounds.append(_measured(project, done, progress))
    finally:
        desk.stop()


def _measured(project: Project, done: Round, progress: Progress) -> DemoRound:
    held_out = project.root / "held-out"
    answers = predict_files(project, [str(held_out)], done.run, progress).predictions
    right = sum(answer.label == Path(answer.path).parent.name for answer in answers)
    accuracy = right / len(answers)
    return DemoRound(done.round, done.labelled, done.complete, accuracy, done.prelabels_accepted, done.run)
