"""How a dry run is shown."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import table_of
from labeler.foresee import Change, PullPlan, PushPlan

_SHOWN = 20


def push_data(plan: PushPlan) -> dict[str, Any]:
    """Counts as a push gives them, and the images of each."""
    return {
        "dry_run": True,
        "created": len(plan.create),
        "found": len(plan.found),
        "withdrawn": len(plan.withdraw),
        "prelabelled": len(plan.prelabel),
        "tasks_gone": plan.gone,
        "stops": plan.stops,
        "images": {
            "created": plan.create,
            "found": plan.found,
            "withdrawn": plan.withdraw,
            "prelabelled": plan.prelabel,
        },
    }


def push(plan: PushPlan) -> RenderableType:
    """A line each, with the first images."""
    lines = [
        f"{len(plan.create)} tasks would be made{_images(plan.create)}",
        f"{len(plan.prelabel)} pre-labels would be sent{_images(plan.prelabel)}",
    ]
    if plan.found:
        lines.append(f"{len(plan.found)} tasks are there whose making was not confirmed{_images(plan.found)}")
    if plan.withdraw:
        lines.append(f"{len(plan.withdraw)} tasks of forgotten images would be deleted{_images(plan.withdraw)}")
    if plan.gone:
        lines.append(f"{plan.gone} tasks were deleted in Label Studio")
    if plan.stops:
        lines.append("so many tasks are gone there that a push would ask first, and do nothing of this")
    return Text("\n".join(lines))


def pull_data(plan: PullPlan) -> dict[str, Any]:
    """Counts as a pull gives them, and every answer that would come in."""
    changed, deleted = plan.count("changed"), plan.count("deleted")
    return {
        "dry_run": True,
        "annotations": len(plan.changes),
        "created": plan.count("new"),
        "updated": changed + deleted,
        "deleted": deleted,
        "tasks_gone": plan.tasks_gone,
        "withdrawn": len(plan.withdraw),
        "stops": plan.stops,
        "unusable": plan.unusable,
        "changes": [asdict(change) for change in plan.changes],
    }


def pull(plan: PullPlan) -> RenderableType:
    """Counts, then a row an answer."""
    counts = f"{plan.count('new')} new answers, {plan.count('changed')} changed, {plan.count('deleted')} deleted"
    lines = [f"{counts} would come in"]
    if plan.tasks_gone:
        lines.append(f"{plan.tasks_gone} tasks were deleted in Label Studio; their labels would stay")
    if plan.withdraw:
        lines.append(f"{len(plan.withdraw)} tasks of forgotten images would be deleted{_images(plan.withdraw)}")
    if plan.stops:
        lines.append("so much is gone there that a pull would ask first: `curate label pull --accept-deletions`")
    parts: list[RenderableType] = [Text("\n".join(lines))]
    if plan.changes:
        parts.append(_table(plan.changes[:_SHOWN]))
    if len(plan.changes) > _SHOWN:
        parts.append(Text(f"… and {len(plan.changes) - _SHOWN} more (--json lists all)"))
    return Group(*parts)


def _table(changes: Sequence[Change]) -> RenderableType:
    table = table_of("image", "", "before", "after", "person", numbers=("image",))
    for change in changes:
        table.add_row(
            str(change.image), change.what, Text(change.before or ""), Text(change.after or ""), change.annotator
        )
    return table


def _images(ids: Sequence[int]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f": images {', '.join(map(str, ids[:_SHOWN]))}{more}"
