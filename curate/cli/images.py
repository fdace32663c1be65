"""Commands on single images: why, forget."""

from typing import Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "why")(why)
    command(app, "forget")(forget)


def why(
    around: Surroundings,
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="A number, 8 or more digits of its SHA-256, a file, or its address."),
    ],
) -> Outcome:
    """Show where an image came from and all that happened to it, or why an address gave none."""
    from curate.cli import show_images
    from curate.why import why as trace

    found = trace(around.project(), image)
    return Outcome(show_images.why_data(found), show_images.why(found))


def forget(
    around: Surroundings,
    image: Annotated[
        str,
        typer.Argument(metavar="URL|IMAGE", help="As for why; a page's URL stands for every image seen there."),
    ],
) -> Outcome:
    """Take an image out everywhere, for good: file, label and task; it never comes back by any address."""
    from dataclasses import asdict

    from curate.cli import show_images
    from curate.cli.label import labelling
    from curate.forget import forget as take_out

    desk = labelling(around)
    report = take_out(desk.project, image, desk, around.progress)
    return Outcome(asdict(report), show_images.forgotten(report))
