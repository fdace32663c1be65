"""The list of classes: `curate classes`, and classes add, rename, merge, remove."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.command import COMMON_HELP, Outcome, Surroundings, command, show
from curate.cli.overview import Overview

if TYPE_CHECKING:
    from rich.table import Table

    from curate.classes.apply import ClassStanding
    from curate.classes.change import Change


class Labels(StrEnum):
    """What becomes of the labels of a class that is removed."""

    DROP = "drop"


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    classes = typer.Typer(cls=Overview, help="The classes: what each has; and changing them, though labels exist.")
    classes.callback(invoke_without_command=True)(listing)
    command(classes, "add")(add)
    command(classes, "rename")(rename)
    command(classes, "merge")(merge)
    command(classes, "remove")(remove)
    app.add_typer(classes, name="classes")


def listing(
    context: typer.Context,
    project: Annotated[Path | None, typer.Option(metavar="DIR", help=COMMON_HELP["project"])] = None,
    json: Annotated[bool, typer.Option("--json", help=COMMON_HELP["json"])] = False,
) -> int:
    """Show the classes, with images, labels, key and queries of each; or change them."""
    from curate.classes.apply import standing
    from db.errors import ConfigError

    if context.invoked_subcommand is not None:
        if project is not None or json:
            raise ConfigError(f"--project and --json come after `{context.invoked_subcommand}`")
        return 0
    found = standing(Surroundings(project, json).project())
    show(Outcome(_data(found), _table(found)), as_json=json)
    return 0


def add(
    around: Surroundings,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="New classes, or some that were removed.")],
) -> Outcome:
    """Add classes. One that was merged or removed before comes back, and answers that said it count again."""
    from curate.classes.change import Change
    from db.models import ChangeKind

    return _change(around, Change(ChangeKind.ADD, tuple(names)))


def rename(
    around: Surroundings,
    old: Annotated[str, typer.Argument(metavar="OLD", help="A class.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is called from now on.")],
) -> Outcome:
    """Rename a class. Labels, Label Studio's page and the next split follow; answers under the old name still count."""
    from curate.classes.change import Change
    from db.models import ChangeKind

    return _change(around, Change(ChangeKind.RENAME, (old,), new))


def merge(
    around: Surroundings,
    names: Annotated[list[str], typer.Argument(metavar="FROM… INTO", help="Classes, and the one that they become.")],
) -> Outcome:
    """Make one class of several: answers that said the others count as INTO from now on, and queries are joined."""
    from curate.classes.change import Change
    from db.errors import ConfigError
    from db.models import ChangeKind

    *gone, into = names
    if not gone:
        raise ConfigError("which classes, and into which? `curate classes merge FROM… INTO`")
    return _change(around, Change(ChangeKind.MERGE, tuple(gone), into))


def remove(
    around: Surroundings,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Classes.")],
    labels: Annotated[
        Labels | None,
        typer.Option(help="drop: their images go back into the queue; the answers stay on record."),
    ] = None,
) -> Outcome:
    """Remove classes. While labels name one, --labels must say what becomes of them."""
    from curate.classes.change import Change
    from db.models import ChangeKind

    return _change(around, Change(ChangeKind.REMOVE, tuple(names)), drop_labels=labels is Labels.DROP)


def _change(around: Surroundings, change: "Change", *, drop_labels: bool = False) -> Outcome:
    from curate.classes.apply import change_classes, standing
    from curate.classes.studio import follow, pull_first
    from curate.cli.label import labelling
    from db.models import ChangeKind

    desk = labelling(around)
    if change.kind is ChangeKind.REMOVE:
        pull_first(desk, around.progress)
    project, changed = change_classes(desk.project, change, drop_labels=drop_labels)
    there = follow(project, desk.environment, around.progress)
    found = standing(project)
    lines = [f"{len(found)} classes: {', '.join(found)}"]
    if changed.moved:
        lines.append(f"{changed.moved} answers count as another class than before")
    if changed.dropped:
        lines.append(f"{changed.dropped} answers count no more; their images wait for a label again")
    lines.append(there.told)
    data = _data(found) | {"moved": changed.moved, "dropped": changed.dropped, "label_studio": there.value}
    return Outcome(data, "\n".join(line for line in lines if line))


def _data(found: "dict[str, ClassStanding]") -> dict[str, object]:
    return {"classes": {name: asdict(one) for name, one in found.items()}}


def _table(found: "dict[str, ClassStanding]") -> "Table":
    from rich.text import Text

    from curate.cli.rows import table_of

    table = table_of(
        "class",
        "key",
        "images",
        "labelled",
        "queries",
        "once called",
        numbers=("images", "labelled"),
        prose=("queries", "once called"),
    )
    for name, one in found.items():
        queries = one.queries[0] + (f" and {len(one.queries) - 1} more" if len(one.queries) > 1 else "")
        former = ", ".join(one.former)
        table.add_row(Text(name), one.hotkey or "", str(one.images), str(one.labelled), Text(queries), Text(former))
    return table
