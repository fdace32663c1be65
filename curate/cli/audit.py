"""`curate audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command

if TYPE_CHECKING:
    from curate.audit.audit import Asked


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "audit")(audit)


def audit(
    around: Surroundings,
    most: Annotated[
        int | None, typer.Option("--most", min=1, metavar="N", help="So many findings at most, the worst.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="S", help="Doubt every label from this score on; else as calibrated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", dir_okay=False, help="Also a page to look through the findings."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="R", help="Judge by a run's features; with --catalogue by R, not the best run."),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option("--retrain", help="Judge by five networks, each trained without what it judges: slow."),
    ] = False,
    send: Annotated[
        bool, typer.Option("--send", help='Ask people about the findings, in the view "Review" of Label Studio.')
    ] = False,
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Audit a list of others' images instead: a CSV of images and their classes."),
    ] = None,
) -> Outcome:
    """Find labels that are probably wrong, copies that contradict each other, and images that no class fits.

    The worst come first, each with its reason. Nothing is changed; with --send people decide, and `curate label pull`
    brings what they say. With --catalogue the best run says which images of a list are of another class than it claims.
    """
    from db.errors import ConfigError

    if run is not None and retrain:
        raise ConfigError("--run and --retrain each say what to judge by: leave out one")
    around.output(output)
    if catalogue is not None:
        if send or retrain:
            raise ConfigError("--catalogue is of others' images: leave out --send and --retrain")
        return _catalogue(around, catalogue, most, threshold, output, run)
    from curate.audit.audit import Asked

    return _labels(around, Asked(run, retrain, threshold), most, output, send=send)


def _labels(around: Surroundings, asked: "Asked", most: int | None, output: Path | None, *, send: bool) -> Outcome:
    from curate.audit.audit import audit as find
    from curate.audit.sending import send as ask
    from curate.cli import show_audit
    from curate.cli.label import labelling

    desk = labelling(around)
    if send:
        desk.require()
    report = find(desk.project, asked, around.progress).worst(most)
    if output is not None:
        from curate.pages.audit import write_audit

        write_audit(desk.project, report, output.absolute(), around.progress)
    sent = ask(desk.project, desk, report.issues) if send else None
    return Outcome(show_audit.labels_data(report, output, sent), show_audit.labels(report, output, sent))


def _catalogue(
    around: Surroundings,
    file: Path,
    most: int | None,
    threshold: float | None,
    output: Path | None,
    run: str | None,
) -> Outcome:
    from curate.audit.catalogue import audit_catalogue
    from curate.cli import show_audit

    project = around.project()
    report = audit_catalogue(project, file, run, threshold, around.progress).worst(most)
    if output is not None:
        from curate.pages.audit import write_catalogue

        write_catalogue(project, report, output.absolute(), around.progress)
    code = SOME_FAILED if report.failures else 0
    return Outcome(show_audit.catalogue_data(report, output), show_audit.catalogue(report, output), code)
