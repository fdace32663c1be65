"""The command on how good images are as pictures: quality."""

from typing import Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "quality")(quality)


def quality(
    around: Surroundings,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="IMAGE", help="Use this image, whatever a check says; as for why.")
    ] = None,
    aside: Annotated[
        list[str] | None, typer.Option(metavar="IMAGE", help="Do not use this image, whatever a check says.")
    ] = None,
) -> Outcome:
    """Check all images under the present thresholds and set poor ones aside, or record what you say of some."""
    from dataclasses import asdict

    from curate.cli import show_quality
    from curate.quality.account import account
    from curate.quality.apply import recheck, say

    project = around.project()
    if keep or aside:
        say(project, keep or [], aside or [])
    else:
        recheck(project, around.progress)
    found = account(project)
    return Outcome(asdict(found), show_quality.account(found))
