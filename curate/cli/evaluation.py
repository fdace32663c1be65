"""Commands that judge finished runs: evaluate, compare."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "evaluate")(evaluate)
    command(app, "compare")(compare)


def evaluate(
    around: Surroundings,
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", dir_okay=False, help="The page; else report.html in the run's folder."
        ),
    ] = None,
) -> Outcome:
    """Write a run's report: curves, confusion matrix, calibration, and the pictures it gets wrong."""
    from curate.cli import show_evaluation
    from curate.pages.evaluation import write_evaluation

    report = write_evaluation(around.project(), run, around.output(output), around.progress)
    return Outcome(show_evaluation.evaluation_data(report), show_evaluation.evaluated(report))


def compare(
    around: Surroundings,
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run's name or number.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another's.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="Write a page with the pictures on which they differ.",
        ),
    ] = None,
) -> Outcome:
    """Say whether one run is better than another, on images that both held out (McNemar's test)."""
    from curate.cli import show_evaluation
    from curate.comparing import compare as ask_both
    from curate.pages.comparison import write_comparison
    from curate.pages.pictures import pictures_by_hash

    project, file = around.project(), around.output(output)
    found = ask_both(project, first, second)
    with project.database.read() as session:
        known = pictures_by_hash(session, (one.sha256 for one in found.differing))
    if file is not None:
        write_comparison(project, found, known, file, around.progress)
    return Outcome(show_evaluation.comparison_data(found, known, file), show_evaluation.compared(found, file))
