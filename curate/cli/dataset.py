"""Commands on the project as a whole: init, config, status, split, export, doctor, db."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command
from curate.cli.overview import Overview


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for function, name in (
        (init, "init"),
        (config, "config"),
        (status, "status"),
        (split, "split"),
        (export, "export"),
    ):
        command(app, name)(function)
    command(app, "doctor")(doctor)
    database = typer.Typer(
        cls=Overview, help="The database: its schema, its health, copies of it.", no_args_is_help=True
    )
    command(database, "upgrade")(db_upgrade)
    command(database, "check")(db_check)
    command(database, "backup")(db_backup)
    command(database, "restore")(db_restore)
    app.add_typer(database, name="db")


def init(
    around: Surroundings,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where, made if it is not there; else the folder you are in."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Classes and queries that come with curate: guitars. Of --classes only the queries."),
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B,…", help="Your own classes, in order.")] = None,
) -> Outcome:
    """Make a new project: its folder, curate.toml and database."""
    from curate.project import create

    names = [name for name in (classes or "").split(",") if name.strip()]
    project = create(around.new(folder, Path()).absolute(), preset, names)
    found = [c.name for c in project.settings.classes]
    text = f"{project.root}: {len(found)} classes ({', '.join(found)}). Its settings are in curate.toml."
    text += "\nimages come in with `curate crawl` or `curate import DIR`, called in that folder"
    return Outcome({"project": str(project.root), "classes": found}, text)


def config(
    around: Surroundings,
    key: Annotated[str | None, typer.Argument(help="Such as dataset.target; without it, all are shown.")] = None,
    value: Annotated[str | None, typer.Argument(help="What to set it to.")] = None,
) -> Outcome:
    """Show or set a key of curate.toml; what is set is checked before it is written."""
    from curate import config as settings
    from curate import edit

    path = around.root() / settings.FILE_NAME
    if key is None:
        loaded = settings.load(path)
        values = {name: settings.value(loaded, name) for name in settings.known_keys()}
        return Outcome({"values": values}, "\n".join(edit.line(name, found) for name, found in values.items()))
    if value is None:
        found = settings.value(settings.load(path), key)
    elif key in {"train.arch", "train.recipe"}:
        from curate.training import check_setting  # loads torch, to know what there is

        found = edit.set_value(path, key, value, lambda meant: check_setting(path.parent, key, meant))
    else:
        found = edit.set_value(path, key, value)
    return Outcome({"key": key, "value": found}, edit.line(key, found))


def status(
    around: Surroundings,
    crawl: Annotated[
        bool, typer.Option("--crawl", help="What became of every address, by class and source, instead.")
    ] = False,
    quality: Annotated[
        bool, typer.Option("--quality", help="What is set aside as too poor a picture, and why, instead.")
    ] = False,
    labelling: Annotated[
        bool,
        typer.Option("--labelling", help="Who labels, how far they agree, what pre-labels do, what is left, instead."),
    ] = False,
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Each round of labelling and training, and what more labels are worth, instead."),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the rounds of --loop into a PNG.")
    ] = None,
) -> Outcome:
    """Show where everything stands: images and labels of each class, runs, and what is left to do."""
    from dataclasses import asdict

    from curate.cli import show, show_quality
    from curate.quality.account import account as judge
    from curate.status import status as measure

    _one_of(crawl, quality, labelling, loop or plot is not None, names="--crawl, --quality, --labelling and --loop")
    if crawl:
        from curate.cli import show_crawl
        from curate.crawl.account import account

        kept = account(around.project())
        return Outcome(show_crawl.account_data(kept), show_crawl.account(kept))
    if quality:
        judged = judge(around.project())
        return Outcome(asdict(judged), show_quality.account(judged))
    if labelling:
        from curate.cli import show_labelling
        from curate.people.account import account as ask

        asked = ask(around.project())
        return Outcome(show_labelling.account_data(asked), show_labelling.account(asked))
    if loop or plot:
        return _loop(around, plot)
    found = measure(around.project())
    return Outcome(asdict(found), show.status(found))


def _one_of(*asked: bool, names: str) -> None:
    from db.errors import ConfigError

    if sum(asked) > 1:
        raise ConfigError(f"{names} each show something else instead: say one")


def _loop(around: Surroundings, plot: Path | None) -> Outcome:
    from rich.console import Group

    from curate.cli import show_rounds
    from curate.rounds.account import account
    from curate.rounds.plot import draw
    from curate.simulation.plot import check
    from db.files import write_atomically

    check(plot)
    found = account(around.project())
    data, text = show_rounds.loop_data(found), show_rounds.loop(found)
    if plot is None:
        return Outcome(data, text)
    write_atomically(plot.absolute(), draw(found))
    return Outcome({**data, "plot": str(plot.absolute())}, Group(text, "", f"the plot: {plot}"))


def split(
    around: Surroundings,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing when a class is short.")] = False,
    proof: Annotated[
        bool,
        typer.Option(
            "--proof", help="Look at the nearest pairs across the split; writes proofs/split-<snapshot>.json."
        ),
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(metavar="K", min=2, help="Deal the train side into K folds, for out-of-fold predictions."),
    ] = None,
) -> Outcome:
    """Freeze what to learn from and what to validate on: exactly the target of each class, copies on one side."""
    from rich.console import Group

    from curate.cli import show_split
    from curate.split import split as make

    project = around.project()
    report = make(project, around.progress, strict=strict)
    data, texts = show_split.split_data(report), [show_split.split(report)]
    if proof:
        from curate.split.proof import prove

        proven = prove(project, around.progress)
        data["proof"] = show_split.proof_data(proven)
        texts.append(show_split.proof(proven))
    if folds:
        from curate.split.folds import folds as deal

        with project.database.read() as session:
            dealt = deal(session, folds, project.settings.dataset.seed)
        data["folds"] = show_split.folds_data(dealt)
        texts.append(show_split.folds(dealt))
    return Outcome(data, Group(*texts), SOME_FAILED if report.short else 0)


def export(
    around: Surroundings,
    layout: Annotated[
        str, typer.Argument(metavar="FORMAT", help="imagefolder, csv, coco, parquet, webdataset or croissant.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one exported into before.")],
    outsiders: Annotated[
        bool, typer.Option("--none-of-these", help="With the images of no class, as one class more.")
    ] = False,
) -> Outcome:
    """Write the present split for other tools, with licences and attributions."""
    from curate.export.formats import FORMATS
    from curate.export.interface import export as write
    from db.errors import ConfigError

    if layout not in FORMATS:
        raise ConfigError(f"no format {layout!r}; there is: {', '.join(FORMATS)}")
    report = write(around.project(), FORMATS[layout], folder.absolute(), around.progress, outsiders=outsiders)
    text = f"{report.images} images, {report.files} files in {folder}"
    return Outcome({"images": report.images, "files": report.files, "folder": str(folder)}, text)


def doctor(
    around: Surroundings,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without losing anything.")] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="Ask each source of crawl.sources one small question instead.")
    ] = False,
) -> Outcome:
    """Check files, rows and hashes against each other."""
    from dataclasses import asdict

    _one_of(repair, sources, names="--repair and --sources")
    if sources:
        return _sources(around)
    from curate.cli import show
    from curate.doctor import examine

    problems = examine(around.project(), repair=repair, progress=around.progress)
    left = [problem for problem in problems if not problem.repaired]
    return Outcome({"problems": [asdict(p) for p in problems]}, show.problems(problems), SOME_FAILED if left else 0)


def _sources(around: Surroundings) -> Outcome:
    import os
    from dataclasses import asdict

    from curate.cli import show_crawl
    from curate.crawl.ledger import known_paces
    from curate.crawl.sources import Credentials
    from curate.crawl.watch import examine_all

    project = around.project()
    with project.database.read() as session:
        known = known_paces(session)
    found = examine_all(project.settings.crawl, Credentials.of(os.environ), known)
    problems = [asdict(one) for one in found if one.reason]
    data = {"sources": [asdict(one) for one in found], "problems": problems}
    return Outcome(data, show_crawl.health(found), SOME_FAILED if problems else 0)


def db_upgrade(around: Surroundings) -> Outcome:
    """Bring the database to this version's schema, after a backup; make an empty one if there is none."""
    from curate import config as settings
    from curate.project import database_path
    from db import migrate

    root = around.root()
    saved = migrate.upgrade(database_path(root, settings.load(root / settings.FILE_NAME)))
    text = f"schema {migrate.head()}" + (f"; the database as it was is in {saved}" if saved else "")
    return Outcome({"schema": migrate.head(), "backup": str(saved) if saved else None}, text)


def db_check(around: Surroundings) -> Outcome:
    """Read the whole database and report what is damaged."""
    from db import migrate

    found = migrate.problems(around.project().database.path)
    return Outcome({"problems": found}, "\n".join(found) or "the database is whole", SOME_FAILED if found else 0)


def db_backup(around: Surroundings) -> Outcome:
    """Copy the database into the `backups` folder beside it, also while it is in use."""
    from db import migrate

    saved = migrate.backup(around.project().database.path)
    return Outcome({"backup": str(saved)}, str(saved))


def db_restore(
    around: Surroundings,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A copy of the database; else the newest in `backups`.")
    ] = None,
) -> Outcome:
    """Put back a copy of the database. What is there now is kept, and who was forgotten since stays so."""
    from curate.cli import show
    from curate.cli.label import environment
    from curate.restoring import restore_copy

    found = restore_copy(around.root(), file.absolute() if file else None, environment(), around.progress)
    return Outcome(show.restored_data(found), show.restored(found))
