"""The command that makes a small network of a large one: distill."""

from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.distilling import DistillReport


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "distill")(distill)


def distill(
    around: Surroundings,
    arch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Any torchvision classifier; mobilenet_v3_small unless told.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(metavar="RUN", help="The run to learn from; else the best.")] = None,
    init: Annotated[
        str | None, typer.Option(metavar="imagenet|none|FILE", help="The student's first weights, as for train.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=32, metavar="PX", help="Side of the pictures it sees.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many; 120 unless told.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of everything random.")] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="auto, cpu, cuda, …")] = None,
) -> Outcome:
    """Train a small network on what a finished run says of varied pictures, and set the two side by side.

    The same command again goes on with one that was stopped. `predict --run` answers by it.
    """
    from dataclasses import asdict

    from curate.cli import show
    from curate.distilling import distill as make

    report = make(
        around.project(),
        teacher=teacher,
        arch=arch,
        init=init,
        size=size,
        epochs=epochs,
        seed=seed,
        device=device,
        progress=around.progress,
    )
    beside = {"teacher": asdict(report.teacher), "student": asdict(report.student)}
    return Outcome(show.train_data(report.trained) | beside, _shown(report), told=report.trained.leads)


def _shown(report: "DistillReport") -> "RenderableType":
    """Teacher and student, a row each."""
    from curate.cli.rows import table_of

    table = table_of("", "run", "parameters", "MB", "images/s", "accuracy", numbers=("parameters", "MB", "images/s"))
    for name, one in (("teacher", report.teacher), ("student", report.student)):
        size, speed = f"{one.bytes / 1e6:.1f}", f"{one.images_per_second:.0f}"
        table.add_row(name, one.run, f"{one.parameters:,}", size, speed, f"{one.validation_accuracy:.3f}")
    return table
