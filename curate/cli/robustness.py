"""`curate robustness`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.robustness import RobustnessReport


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "robustness")(robustness)


def robustness(
    around: Surroundings,
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where the plot goes, a PNG; else into the run's folder."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="scribble, occlusion, noise, blur, jpeg, brightness or rotation alone; may be given again.",
        ),
    ] = None,
) -> Outcome:
    """Measure what a run's accuracy becomes on spoilt pictures: scribbled on, partly hidden, noisy, blurred and so on.

    Each is done to the images that the run was validated on, at five strengths.
    """
    from dataclasses import asdict

    from curate.robustness import measure_run
    from trainer.corrupt import CORRUPTIONS

    report = measure_run(around.project(), run, only or (), plot, around.progress)
    data = {
        "run": report.run,
        "images": report.images,
        "clean": report.clean,
        "corruptions": report.corruptions,
        "strengths": {name: [asdict(one) for one in found] for name, found in report.strengths.items()},
        "units": {name: CORRUPTIONS[name].unit for name in report.strengths},
        "plot": report.plot,
    }
    return Outcome(data, _text(report))


def _text(report: "RobustnessReport") -> "RenderableType":
    """One row a corruption: from mild to hard, the strength and the accuracy there."""
    from rich.console import Group
    from rich.text import Text

    from curate.cli.rows import table_of
    from trainer.corrupt import CORRUPTIONS

    levels = ("mildest", "mild", "middle", "hard", "hardest")
    table = table_of("spoilt by", "mean", *levels, "strength in", numbers=("mean", *levels))
    for name, found in report.strengths.items():
        cells = [f"{one.strength:g}: {one.accuracy:.3f}" for one in found]
        table.add_row(name, f"{report.corruptions[name]:.3f}", *cells, CORRUPTIONS[name].unit)
    least = max(one.high - one.low for found in report.strengths.values() for one in found) / 2
    return Group(
        Text(f"run {report.run}: {report.clean:.3f} of {report.images} validation images right as they are"),
        table,
        Text(f"each to within {least:.3f} at most (95 %); the plot: {report.plot}"),
    )
