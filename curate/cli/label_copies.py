"""Copies of a project's own Label Studio: label backup, label restore."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import Outcome, Surroundings, command


def register(label: typer.Typer) -> None:
    """Add these commands to `label`."""
    command(label, "backup")(backup)
    command(label, "restore")(restore)


def backup(
    around: Surroundings,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A new file; else one in the project's backups folder.")
    ] = None,
) -> Outcome:
    """Copy this project's Label Studio into one file, also while it runs. It holds secrets: only you can read it."""
    from dataclasses import asdict

    from curate.cli.label import labelling

    report = labelling(around).back_up(None if file is None else file.absolute(), around.progress)
    held = asdict(report.contents)
    text = f"{report.file}: " + ", ".join(f"{number} {what}" for what, number in held.items())
    return Outcome({"file": str(report.file), "bytes": report.bytes, "files": report.files} | held, text)


def restore(
    around: Surroundings,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `curate label backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up what is in Label Studio now and not in the backup.")
    ] = False,
) -> Outcome:
    """Put this project's Label Studio back as it was. All of the file is checked before anything is changed."""
    from curate.cli.label import labelling

    found = labelling(around).restore(file.absolute(), replace_work=replace)
    lines = ["restored; `curate label start` starts it"]
    if found.tasks:
        lines.append(f"{found.tasks} tasks were made after the backup: `curate label push` makes those that wait anew")
    if found.answers:
        lines.append(
            f"{found.answers} answers are here that Label Studio no longer has: they count, its tasks are open"
        )
    return Outcome({"tasks": found.tasks, "answers": found.answers}, "\n".join(lines))
