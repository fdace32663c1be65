"""Commands that bring images in and sort copies out: crawl, import, dedup."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command


class Labels(StrEnum):
    """Where an import takes labels from."""

    FOLDER = "folder"


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "crawl")(crawl)
    command(app, "import")(import_)
    command(app, "dedup")(dedup)


class Licence(StrEnum):
    """Which licences a crawl takes."""

    ANY = "any"
    OPEN = "open"
    COMMERCIAL = "commercial"


def crawl(
    around: Surroundings,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WHAT]…", help="Classes or free queries; else every class that is short."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="S",
            help="openverse, commons, bing, google, flickr, site=URL, urls=FILE or folder=DIR,"
            " instead of crawl.sources; repeatable.",
        ),
    ] = None,
    most: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="New images for each WHAT, whatever it lacks.")
    ] = None,
    licence: Annotated[
        Licence | None,
        typer.Option(help="any; open: known to be free to use; commercial: also for commercial ends."),
    ] = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Ask for nothing new, but again for what was found: it may have changed.")
    ] = False,
) -> Outcome:
    """Collect images from the web until each class has its target, or its sources have no more."""
    import os

    from curate.cli import show_crawl
    from curate.crawl.crawl import CrawlOptions
    from curate.crawl.crawl import crawl as run
    from curate.crawl.plan import mistakable, targets
    from curate.crawl.sources import Credentials, make
    from curate.rights import Policy

    project = around.project()
    settings = project.settings.crawl
    names = source or list(settings.sources)
    finders = [make(name, settings, Credentials.of(os.environ)) for name in names]
    options = CrawlOptions(Policy(licence or settings.licence), recheck)
    wanted = targets(project, what or [], names, most, recheck=recheck)
    for query, near in mistakable(project, wanted).items():
        around.progress.say(f"{query!r} is no class, and is searched for as it stands; did you mean {near!r}?")
    report = run(project, wanted, finders, options, around.progress)
    failed = bool(report.failed or report.problems)
    return Outcome(show_crawl.crawl_data(report), show_crawl.crawl(report), SOME_FAILED if failed else 0)


def import_(
    around: Surroundings,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Everything below it is taken in.")],
    labels: Annotated[Labels | None, typer.Option(help="folder: the names of subfolders are labels.")] = None,
) -> Outcome:
    """Take in a folder of images that you have already."""
    from curate.cli import show
    from curate.ingest.folder import import_folder

    report = import_folder(around.project(), folder, labels=labels is not None, progress=around.progress)
    return Outcome(show.import_data(report), show.imported(report), SOME_FAILED if report.failed else 0)


def dedup(
    around: Surroundings,
    review: Annotated[
        bool, typer.Option("--review", help="Write a page with groups and near misses, to look at in a browser.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="The page of --review; else duplicates.html in the project.",
        ),
    ] = None,
    split: Annotated[
        list[int] | None,
        typer.Option(metavar="GROUP", help="Say that no two images of a group are the same photograph; repeatable."),
    ] = None,
    join: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Say that two images are the same photograph, whatever a search finds."),
    ] = None,
) -> Outcome:
    """Find near-duplicates among all images, and keep the best of each group in the queue.

    What --split and --join say outlasts every search; alone they are recorded without one.
    """
    from dataclasses import asdict

    from curate.cli import show
    from curate.dedup import word
    from curate.dedup.search import dedup as search
    from curate.dedup.standing import standing
    from db.errors import ConfigError

    if output and not review:
        raise ConfigError("-o names the page of --review: say both, or neither")
    project, place = around.project(), around.output(output)
    if split:
        word.take_apart(project, *split)
    if join:
        word.join(project, *join)
    if review or not (split or join):
        report = search(project, around.progress)
    else:
        with project.database.read() as session:
            report = standing(session)
    data = asdict(report)
    if not review:
        return Outcome(data, show.duplicates(report))
    from curate.pages.duplicates import write_duplicates

    page = write_duplicates(project, place or project.root / "duplicates.html", around.progress)
    return Outcome({**data, "page": str(page.file)}, show.duplicates(report, page))
