"""`curate label watch`."""

from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command

if TYPE_CHECKING:
    from curate.live.watch import WatchReport

_INTERRUPTED = 130


def register(label: typer.Typer) -> None:
    """Add it to the commands around Label Studio."""
    command(label, "watch")(watch)


def watch(
    around: Surroundings,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Train whenever so many labels are new.")] = 100,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Hand out so many when less than half of that is open.")
    ] = 100,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="P", help="Where to listen; else where it last did.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="H", help="Address to listen at, where Label Studio is on another machine.")
    ] = "127.0.0.1",
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end.")] = False,
) -> Outcome:
    """Work along while people label: take answers in as they come, hand out more, train, refresh pre-labels.

    Training goes on in the background, at low priority. The same small server is a model for Label Studio's settings.
    Ctrl-C ends it; a training that it stops goes on with `curate train --resume`.
    """
    from dataclasses import asdict

    from curate.cli.label import labelling
    from curate.live.watch import Watch, WatchOptions

    desk = labelling(around)
    watching = Watch(desk.project, desk, WatchOptions(every, batch, host, port, once), around.progress)
    code = 0
    try:
        watching.run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    report = watching.report
    return Outcome(asdict(report), _text(report), code or (SOME_FAILED if report.failed else 0))


def _text(report: "WatchReport") -> str:
    lines = [
        f"{report.pulled} answers taken in, {report.pushed} images handed out, {report.prelabelled} pre-labels sent"
    ]
    lines += [
        f"run {one.run}: validation accuracy {one.validation_accuracy:.3f}{', answers now' if one.best else ''}"
        for one in report.trained
    ]
    lines += [f"{one.job} failed: {one.problem} ({one.log})" for one in report.failed]
    return "\n".join(lines)
