"""The whole loop as one command: loop, and demo."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "loop")(loop)
    command(app, "demo")(demo)


def loop(
    around: Surroundings,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="How many rounds.")] = 1,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Labels that a round waits for.")] = 100,
    crawl: Annotated[
        bool, typer.Option("--crawl", help="Look in the web for more of the classes that are short, after each round.")
    ] = False,
) -> Outcome:
    """Go on in rounds: wait for a batch of labels, split, train, pre-label, and hand out what to label next.

    Label Studio is started if it is not running. The loop can be stopped at any time; the same command goes on.
    """
    from curate.cli import show_rounds
    from curate.cli.label import labelling
    from curate.loop import loop as run
    from curate.rounds.account import account

    desk = labelling(around)
    done = []
    for one in run(desk.project, desk, rounds, batch, around.progress, crawl=crawl):
        around.progress.say(show_rounds.line(one))
        done.append(one)
    found = account(desk.project)
    return Outcome(show_rounds.loop_data(found, done), show_rounds.loop(found, done))


def demo(
    around: Surroundings,
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A new folder; demo unless told.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the drawings and everything else.")] = 2017,
) -> Outcome:
    """Show the whole loop on drawn pictures, without a network: crawl, label, train, pre-label, twice.

    The real Label Studio takes part; the first time on a machine it is installed.
    """
    from dataclasses import asdict

    from curate.cli import show, show_crawl
    from curate.cli.label import cache
    from curate.demo.story import demo as run

    place = around.new(folder, Path("demo"))
    report = run(place.absolute(), seed, cache(), around.progress)
    data = {
        "project": str(report.folder),
        "rounds": [asdict(one) for one in report.rounds],
        "crawl": show_crawl.crawl_data(report.crawl),
        "duplicates": report.duplicates,
        "held_out": report.held_out,
    }
    return Outcome(data, show.demo(report, place))
