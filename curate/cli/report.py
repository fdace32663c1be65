"""Commands that show the whole: report, ui."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command, show

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "report")(report)
    command(app, "ui")(ui)


def report(
    around: Surroundings,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", dir_okay=False, help="The page; else report.html in the project."
        ),
    ] = None,
) -> Outcome:
    """Write one page on the dataset and its runs: classes, pictures, sources, licences, rounds, accuracies."""
    from curate.pages.report import write_report

    project = around.project()
    file = around.output(output) or project.root / "report.html"
    write_report(project, file, around.progress)
    return Outcome({"file": str(file)}, str(file))


def ui(
    around: Surroundings,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="P", help="Where to listen; else any that is free.")
    ] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open it in a browser.")] = True,
) -> Outcome:
    """Show that page in the browser, made anew whenever it is loaded. Ctrl-C ends it."""
    import webbrowser

    from curate.viewing import Viewer

    project = around.project()
    with Viewer(project, port, around.progress) as viewer:
        # Before it serves: whoever started it waits for the address.
        found = Outcome({"url": viewer.url}, f"{viewer.url} (Ctrl-C ends it)", _INTERRUPTED, told=False)
        show(found, as_json=around.json)
        sys.stdout.flush()
        if browser:
            webbrowser.open(viewer.url)
        viewer.wait()
    return found
