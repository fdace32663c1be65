"""The command that shows where a network looks: explain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.explaining import Explained, ExplainReport


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "explain")(explain)


def explain(
    around: Surroundings,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Files, folders of them, or images of the project as for why."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .png or .jpg; else explained.png in the project."),
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Why the answer and not CLASS; else the runner-up.")
    ] = None,
    scribble: Annotated[
        bool, typer.Option("--scribble", help="Show also what a scribble over the picture does to the answer.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the scribble; else dataset.seed. Another draws another one.")
    ] = None,
) -> Outcome:
    """Show where the network looks for its answer, and what tells that from the runner-up, on one sheet."""
    from curate.explaining import Asked, explain_pictures
    from db.errors import ConfigError

    if seed is not None and not scribble:
        raise ConfigError("--seed is the scribble's: say --scribble too")
    project = around.project()
    drawn = None if not scribble else project.settings.dataset.seed if seed is None else seed
    report = explain_pictures(project, images, Asked(around.output(output), run, against, drawn), around.progress)
    return Outcome(_data(report), _shown(report), SOME_FAILED if report.failures else 0)


def _data(report: "ExplainReport") -> dict[str, Any]:
    return {
        "run": report.run,
        "files": [str(path) for path in report.files],
        "explanations": [_explanation(one) for one in report.explanations],
        "failures": [{"path": path, "reason": r.reason.value, "detail": r.detail} for path, r in report.failures],
    }


def _explanation(one: "Explained") -> dict[str, Any]:
    from dataclasses import asdict

    data = {"path": one.path, **asdict(one.reading)}
    if one.under_scribble is not None:
        before = {"label": one.reading.label, "score": one.reading.score}
        data["scribble"] = {"before": before, "after": asdict(one.under_scribble), "flipped": one.flipped}
    return data


def _shown(report: "ExplainReport") -> "RenderableType":
    """One row a picture, then where the sheets are."""
    from rich.console import Group
    from rich.text import Text

    from curate.cli.rows import table_of
    from curate.heat import percent

    table = table_of("picture", "label", "score", "told apart from", "", numbers=("score",), prose=("",))
    for one in report.explanations:
        reading, after = one.reading, one.under_scribble
        notes = ["none of these, only the nearest"] if reading.outside else []
        if after is not None:
            notes.append(
                f"{'flips' if one.flipped else 'stays'} under a scribble: {after.label} {percent(after.score)}"
            )
        row = (one.path, reading.label, percent(reading.score), reading.against, "; ".join(notes))
        table.add_row(*map(Text, row))
    lines = [*(f"{path}: {refusal}" for path, refusal in report.failures), *(f"look at {f}" for f in report.files)]
    return Group(table, *map(Text, lines))
