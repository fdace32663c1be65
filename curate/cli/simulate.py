"""`curate simulate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from curate.cli.command import Outcome, Surroundings, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.simulation.simulate import SimulationReport
    from curate.simulation.summary import Mean


_LEARNS = {"head": "a linear layer each round", "full": "the whole network each round"}


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "simulate")(simulate)


def simulate(
    around: Surroundings,
    strategies: Annotated[
        str, typer.Option(metavar="A,B", help="Strategies to compare with random; all there are unless told.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="How often, each time from other images.")] = 5,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Labels a round.")] = 50,
    budget: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Labels to go up to; all of the train side unless told.")
    ] = None,
    mode: Annotated[
        Literal["head", "full"],
        typer.Option(help="How each round learns: head, a linear layer on the pretrained network; full, as train."),
    ] = "head",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where the plot goes, a PNG; else into the project."),
    ] = None,
) -> Outcome:
    """Replay the labelling of the present split, to see how many labels each strategy would have needed.

    The train side is labelled anew, beginning with one image a class, and a model learns in each round; the validation
    side tells how good it is. Can be stopped at any time: the same command goes on.
    """
    from curate.simulation.simulate import Asked
    from curate.simulation.simulate import simulate as run

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    report = run(around.project(), Asked(names, seeds, batch, budget, mode), around.output(output), around.progress)
    return Outcome(_data(report), _text(report))


def _data(report: "SimulationReport") -> dict[str, Any]:
    """One row of `curves` a strategy, seed and round; one of `orders` a strategy and seed."""
    return {
        "snapshot": report.snapshot,
        "mode": report.mode,
        "pool": report.pool,
        "validation": report.validation,
        "whole": report.whole.value,
        "wholes": [{"seed": seed, "accuracy": accuracy} for seed, accuracy in report.wholes.items()],
        "curves": [
            {"strategy": name, "seed": seed, "labels": labels, "accuracy": accuracy}
            for name, by_seed in report.curves.items()
            for seed, curve in by_seed.items()
            for labels, accuracy in zip(curve.labels, curve.accuracy, strict=True)
        ],
        "orders": [
            {"strategy": name, "seed": seed, "ids": ids}
            for name, by_seed in report.orders.items()
            for seed, ids in by_seed.items()
        ],
        "saved": [
            {
                "strategy": one.strategy,
                "accuracy": report.target,
                "reached": one.reached,
                "share": _mean(one.share),
                "random": _mean(one.random),
                "less": _mean(one.less),
            }
            for one in report.saved
        ],
        "plot": report.plot,
    }


def _mean(mean: "Mean | None") -> dict[str, float | None] | None:
    return None if mean is None else {"mean": mean.value, "spread": mean.spread}


def _text(report: "SimulationReport") -> "RenderableType":
    """Accuracies, what they are ahead of random, and what that saves: a table each."""
    from rich.console import Group
    from rich.text import Text

    from curate.cli.rows import table_of
    from curate.simulation.summary import ALLOWED, accuracies, against_random, mean_of, shown_rounds
    from curate.strategies import RANDOM

    control = report.curves[RANDOM]
    labels = next(iter(control.values())).labels
    places = shown_rounds(labels, report.pool)
    heads = [f"{labels[place]} labels" for place in places]
    right = table_of("accuracy", *heads, numbers=heads)
    ahead = table_of("less random's", *heads, numbers=heads)
    needed = table_of("labels needed", "share of the pool", "random's", "less", "seeds that came so far")
    for name, by_seed in report.curves.items():
        right.add_row(name, *(f"{mean_of(accuracies(by_seed, place))}" for place in places))
        if name != RANDOM:
            ahead.add_row(name, *(f"{against_random(report.curves, name, place):+}" for place in places))
    for one in report.saved:
        cells = ["-" if mean is None else f"{mean:%}" for mean in (one.share, one.random, one.less)]
        needed.add_row(one.strategy, *cells, f"{one.reached} of {len(control)}")
    seeds = f"{len(control)} seed{'s' if len(control) > 1 else ''}"
    return Group(
        Text(
            f"split {report.snapshot}: {report.pool} images to label, {report.validation} to validate on;"
            f" {_LEARNS[report.mode]}; all labels give {report.whole}; {seeds}, ± 95 % over seeds"
        ),
        *("", right, "", ahead, "", needed),
        Text(f"needed for what all labels give with the same seed, less {ALLOWED:g}; the plot: {report.plot}"),
    )
