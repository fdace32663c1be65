"""`curate train`: the present split handed to the trainer, and its run folder noted in the database."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.config import MOST_SEED
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.rounds import record as rounds
from curate.split import latest_snapshot, refuse_forgotten
from curate.watching import watched
from db.errors import DatasetError
from db.faults import fault
from db.models import Image, Run, RunState, Side, Snapshot, SnapshotItem, SnapshotOutsider
from db.models.base import now
from trainer import network, parallel
from trainer.errors import DivergedError, ManifestError, WeightsError
from trainer.manifest import OF_NONE, Item, Manifest
from trainer.options import TrainOptions
from trainer.predict import read_run
from trainer.recipes import Recipe, load
from trainer.run import RunResult, train


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A finished run."""

    run: str
    snapshot: int
    result: RunResult
    resumed: bool
    leads: bool = True
    """Whether this process tells of it: of several under `torchrun` one does."""


_FEWEST_EPOCHS, _MOST_EPOCHS = 11, 30
_STEPS = 690
"""Of learning, where nothing says how long: eleven epochs of 2,000 images. docs/recipes.md has what more brought."""


def options_from(
    project: Project, *, recipe: str | None = None, init: str | None = None, **given: int | str | None
) -> TrainOptions:
    """Take what was given on the command line, then what `curate.toml` says, then the recipe.

    Except that a recipe named on the command line, such as `scratch`, is more than a default weight in `curate.toml`.
    Raises RecipeError, and DatasetError for a seed that no generator takes.
    """
    settings = project.settings.train
    chosen = load(recipe, Path.cwd()) if recipe else load(settings.recipe, project.root)
    known = [chosen.init, settings.init] if recipe else [settings.init, chosen.init]
    configured = next(filter(None, known), "imagenet")
    values: dict[str, Any] = {
        "arch": settings.arch,
        "size": settings.size,
        "epochs": settings.epochs or chosen.epochs or _epochs(project, chosen),
        "seed": project.settings.dataset.seed,
        "device": settings.device,
        "init": _init(init, Path.cwd()) if init else _init(configured, project.root),
    }
    options = TrainOptions(**values | {k: v for k, v in given.items() if v is not None}, recipe=chosen)
    if abs(options.seed) > MOST_SEED:
        raise DatasetError(f"--seed {options.seed}: a seed has at most {MOST_SEED}")
    return options


def check_network(project: Project) -> None:
    """Make the network that would be trained, with its first weights: fetched where they are torchvision's.

    Raises TrainerError where `curate train` would, and in the same words.
    """
    options = options_from(project)
    network.pick_device(options.device)
    made = network.build(options.arch, len(project.settings.classes), options.size, options.recipe.head)
    network.initialise(made, options.arch, options.init)


def options_for(project: Project, images: int, seed: int | None = None) -> TrainOptions:
    """Give the options of `curate train` where so many images are learned from, and not those of the present split."""
    options = options_from(project, seed=seed)
    if project.settings.train.epochs or options.recipe.epochs:
        return options
    return replace(options, epochs=enough_epochs(images, options.recipe.batch_size))


def check_setting(root: Path, key: str, value: object) -> None:
    """Raise RecipeError or WeightsError for a recipe or a network of `curate.toml` that is not there."""
    if key == "train.recipe":
        load(str(value), root)
    elif key == "train.arch":
        network.check(str(value))


def _epochs(project: Project, recipe: Recipe) -> int:
    with project.database.read() as session:
        snapshot = latest_snapshot(session)
        if snapshot is None:
            return _MOST_EPOCHS
        learned = (SnapshotItem.snapshot_id == snapshot.id) & (SnapshotItem.side == Side.TRAIN)
        return enough_epochs(session.scalar(select(func.count()).where(learned)) or 0, recipe.batch_size)


def enough_epochs(images: int, batch_size: int) -> int:
    """As many as make some 690 steps, 11 to 30: fewer images are gone through more often."""
    each = max(1, images // batch_size)
    return min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(_STEPS / each)))


def _init(named: str, folder: Path) -> str:
    return named if named in {"imagenet", "none"} else str(folder / named)


def train_run(
    project: Project,
    options: TrainOptions,
    *,
    resume: bool = False,
    snapshot: int | None = None,
    progress: Progress = QUIET,
) -> TrainReport:
    """Train on the present split, or that of an earlier snapshot, and note the run.

    A run of the same options on the same split that was stopped is taken up where it stopped: its end is the same as a
    new one's. With `resume` the run stopped last is taken up with its own options, whatever they were. Raises
    DatasetError when there is nothing to train on or to resume, and TrainerError.

    Under `torchrun` all processes learn from one split together, and the first notes the run.
    """
    with ExitStack() as stack:
        crew = stack.enter_context(parallel.crew())
        if not crew.leads:
            return _follow(project, crew)
        run, resumed = _take_up(project, options, snapshot, stack) if not resume else _take_up_last(project, stack)
        if run is None:
            run = _begin(project, options, snapshot, stack)
        folder = project.runs / run.name
        manifest = manifest_of(project, run.snapshot_id)
        if resumed:
            progress.say(f"going on with run {run.name}")
        result = _finished(folder, run) if resumed else None
        crew.agreed(_Given(run.name, wanted=result is None))
        if result is None:
            result = _train(project, run, manifest, folder, progress)
        fault("run.before_row")
        _note(project, run, result)
        return TrainReport(run.name, run.snapshot_id, result, resumed)


@dataclass(frozen=True, slots=True)
class _Given:
    """What the process that leads tells the others that `torchrun` started."""

    run: str
    wanted: bool
    """Whether there is anything to learn: a run may have been finished but for its row."""


def _follow(project: Project, crew: parallel.Crew) -> TrainReport:
    """Learn along with the process that leads, which alone writes and tells."""
    given = crew.agreed(_Given("", wanted=False))
    with project.database.read() as session:
        run = session.scalars(select(Run).where(Run.name == given.run)).one()
    if not given.wanted:
        return replace(report_of(project, run), leads=False)
    manifest, options = manifest_of(project, run.snapshot_id), TrainOptions.from_dict(run.options)
    result = train(manifest, options, project.runs / run.name, project.private / "pixels")
    return TrainReport(run.name, run.snapshot_id, result, resumed=False, leads=False)


def manifest_of(project: Project, snapshot_id: int) -> Manifest:
    """Make the trainer's manifest of a snapshot. Raises DatasetError when an image of it was forgotten since.

    In the order of content, not of ids: the same snapshot gives the same manifest in every project that has its images.
    """
    with project.database.read() as session:
        refuse_forgotten(session, snapshot_id)
        snapshot = session.get_one(Snapshot, snapshot_id)
        items = select(SnapshotItem.class_index, SnapshotItem.side, Image).where(SnapshotItem.image_id == Image.id)
        none = select(SnapshotOutsider.side, Image).where(SnapshotOutsider.image_id == Image.id)
        rows = session.execute(items.where(SnapshotItem.snapshot_id == snapshot_id).order_by(Image.sha256))
        outside = session.execute(none.where(SnapshotOutsider.snapshot_id == snapshot_id).order_by(Image.sha256))
        return Manifest(
            tuple(snapshot.classes),
            tuple(_item(project, image, label, side) for label, side, image in rows),
            tuple(_item(project, image, OF_NONE, side) for side, image in outside),
        )


def _item(project: Project, image: Image, label: int, side: Side) -> Item:
    return Item(str(image.id), project.store.path(image.sha256, image.format), image.sha256, label, side.value)


def _take_up(
    project: Project, options: TrainOptions, snapshot_id: int | None, stack: ExitStack
) -> tuple[Run | None, bool]:
    with project.database.read() as session:
        snapshot = _snapshot(session, snapshot_id)
        query = select(Run).where(Run.state == RunState.RUNNING, Run.snapshot_id == snapshot.id).order_by(Run.id.desc())
        stopped = [run for run in session.scalars(query) if run.options == options.as_dict()]
    return next(((run, True) for run in stopped if _hold(project, run, stack)), (None, False))


def _take_up_last(project: Project, stack: ExitStack) -> tuple[Run, bool]:
    with project.database.read() as session:
        stopped = session.scalars(select(Run).where(Run.state == RunState.RUNNING).order_by(Run.id.desc())).all()
    for run in stopped:
        if _hold(project, run, stack):
            return run, True
    raise DatasetError("no stopped run to resume; start one with `curate train`")


def _hold(project: Project, run: Run, stack: ExitStack) -> bool:
    """Take a run for this process. A process that died holds nothing."""
    lock: BaseFileLock = project.lock(f"run-{run.name}")
    try:
        stack.enter_context(lock.acquire(blocking=False))
    except Timeout:
        return False
    return True


def _begin(project: Project, options: TrainOptions, snapshot_id: int | None, stack: ExitStack) -> Run:
    network.check_named(options)  # a misspelt name is no run that failed, and names no folder
    with project.database.write() as session:
        snapshot = _snapshot(session, snapshot_id)
        number = (session.scalar(select(func.max(Run.id))) or 0) + 1
        # A folder of that name may have outlived its row, with a database that was put back from a backup.
        while (project.runs / f"{number:04d}-{options.arch}").exists():
            number += 1
        run = Run(
            name=f"{number:04d}-{options.arch}",
            snapshot_id=snapshot.id,
            arch=options.arch,
            options=options.as_dict(),
            classes=snapshot.classes,
        )
        session.add(run)
        session.flush()
        session.expunge(run)
    _hold(project, run, stack)
    return run


def _snapshot(session: Session, number: int | None) -> Snapshot:
    snapshot = latest_snapshot(session) if number is None else session.get(Snapshot, number)
    if snapshot is None:
        raise DatasetError("there is no split yet; make one with `curate split`")
    refuse_forgotten(session, snapshot.id)
    return snapshot


def _finished(folder: Path, run: Run) -> RunResult | None:
    """Result of a run that was killed after its files were whole but before its row said so."""
    try:
        found = read_run(folder)
    except WeightsError:
        return None
    if found["options"] != run.options:
        return None
    return _result(found)


def _result(record: dict[str, Any]) -> RunResult:
    return RunResult(**{name: record[name] for name in RunResult.__dataclass_fields__ if name in record})


def report_of(project: Project, run: Run) -> TrainReport:
    """Tell of a finished run what it told when it ended. Raises WeightsError when its files are gone."""
    return TrainReport(run.name, run.snapshot_id, _result(read_run(project.runs / run.name)), resumed=True)


def _train(project: Project, run: Run, manifest: Manifest, folder: Path, progress: Progress) -> RunResult:
    options = TrainOptions.from_dict(run.options)
    try:
        with watched(progress) as shown:
            return train(manifest, options, folder, project.private / "pixels", shown)
    except (DivergedError, ManifestError, WeightsError) as error:
        # These do not get better by going on. A full disk does, and leaves the run to be resumed.
        with project.database.write() as session:
            row = session.get_one(Run, run.id)
            row.state, row.problem = RunState.FAILED, str(error)
        raise


def _note(project: Project, run: Run, result: RunResult) -> None:
    with project.database.write() as session:
        row = session.get_one(Run, run.id)
        row.state, row.finished_at = RunState.FINISHED, now()
        row.best_epoch, row.validation_accuracy = result.best_epoch, result.validation_accuracy
        row.validation_images, row.images_per_second = result.validation_images, result.images_per_second
        row.weights_sha256 = result.weights_sha256
        rounds.record(session, row, result.trust, project.settings.queue.strategy)
