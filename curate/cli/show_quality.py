"""What people read of quality checks."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import table_of

if TYPE_CHECKING:
    from curate.quality.account import Account

_SHOWN = 10


def account(found: "Account") -> RenderableType:
    """Counts by reason, a few images, and how to change what was decided."""
    lines = [f"{found.checked} images checked: {_counts(found.set_aside, 'set aside')}"]
    if found.flagged:
        lines.append(f"{_counts(found.flagged, 'in use all the same')}: labelled, or kept by a person")
    if found.unchecked or found.outdated:
        waits = f"{found.unchecked} not measured yet, {found.outdated} decided under other thresholds"
        lines.append(f"{waits}: `curate quality` checks them")
    shown = sorted(found.images, key=lambda poor: poor.in_use)[:_SHOWN]
    if not shown:
        return Text("\n".join(lines))
    numbers = ("image", "value", "threshold")
    table = table_of("image", "reason", "value", "threshold", "", "file", numbers=numbers)
    for poor in shown:
        use = "in use" if poor.in_use else ""
        table.add_row(str(poor.id), poor.reason, _number(poor.value), _number(poor.threshold), use, Text(poor.path))
    more = f"… and {len(found.images) - _SHOWN} more (--json lists all)" if len(found.images) > _SHOWN else ""
    undo = "`curate quality --keep IMAGE` takes one back, whatever a check says; thresholds: `[quality]` of curate.toml"
    return Group(Text("\n".join(lines)), "", table, *(Text(line) for line in (more, undo) if line))


def _counts(counts: "dict[str, int]", what: str) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(counts.items()))
    return f"{sum(counts.values())} {what}" + (f" ({reasons})" if reasons else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
