"""What people read of a crawl, and its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import Rows, table_of

if TYPE_CHECKING:
    from curate.crawl.account import Account
    from curate.crawl.report import CrawlReport, TargetReport
    from curate.crawl.returns import Returns
    from curate.crawl.shortage import Shortage
    from curate.crawl.watch import Health

_QUERIES = 20
"""That the table of queries shows: those that brought most that was new."""


def failed(counts: Mapping[str, int]) -> str:
    """How many failed, and for which reasons."""
    total = sum(counts.values())
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))
    return f"{total} failed ({reasons})" if total else "none failed"


def crawl_data(report: "CrawlReport") -> dict[str, Any]:
    """Counts that add up."""
    return {
        "found": report.found,
        "stored": report.stored,
        "duplicates": report.duplicates,
        "known": report.known,
        "failed": dict(report.failed),
        "waiting": report.waiting,
        "targets": {name: _target_data(target) for name, target in report.targets.items()},
        "problems": [
            {"source": source, "query": query, "reason": r.reason.value, "detail": r.detail}
            for source, query, r in report.problems
        ],
    }


def _target_data(target: "TargetReport") -> dict[str, Any]:
    return {
        "stored": target.stored,
        "near_duplicates": target.near_duplicates,
        "want": target.want,
        "full": target.full,
        "sources": dict(target.by_source),
        "ended": target.ended,
    }


def crawl(report: "CrawlReport") -> RenderableType:
    """What was found, and how each target stands."""
    counts = f"{report.stored} stored, {report.duplicates} exact copies, {report.known} known before"
    lines = [f"{report.found} addresses: {counts}, {failed(report.failed)}"]
    lines += [_target(name, target) for name, target in report.targets.items()]
    if not report.targets:
        lines.append("no class is short; --max N asks for more of a class that you name")
    return Text("\n".join(lines))


def _target(name: str, target: "TargetReport") -> str:
    sources = ", ".join(f"{source} {number}" for source, number in target.by_source.most_common())
    copies = f", {target.near_duplicates} of them near-duplicates" if target.near_duplicates else ""
    stands = "full" if target.full else "; ".join(f"{source}: {how}" for source, how in target.ended.items())
    return f"{name}: {target.stored} new images{f' ({sources})' if sources else ''}{copies}; {stands or 'done'}"


def account_data(found: "Account") -> dict[str, Any]:
    """All of it; `queries` have what people say of the images that each brought, `share` that of its own class."""
    data = asdict(found)
    for row, one in zip(data["queries"], found.queries, strict=True):
        del row["returns"]
        row.update(_returns_data(one.returns))
    return data


def _returns_data(one: "Returns | None") -> dict[str, Any]:
    if one is None:
        return {"class": "", "images": 0, "labelled": 0, "classes": {}, "share": None}
    return {
        "class": one.collected_for,
        "images": one.images,
        "labelled": one.labelled,
        "classes": dict(one.classes),
        "share": one.of(one.collected_for).as_dict() if one.collected_for else None,
    }


def account(found: "Account") -> RenderableType:
    """One row a class and source, one a query, then what is short."""
    columns = ("found", "stored", "duplicate", "refused", "failed", "open")
    table = table_of("class", "source", *columns, numbers=columns)
    for row in found.rows:
        counts = (row.found, row.stored, row.duplicate, row.refused, row.failed, row.open)
        table.add_row(Text(row.class_name or "-"), Text(row.source), *map(str, counts))
    reasons = ", ".join(f"{reason} {number}" for reason, number in found.reasons.items())
    lines = [f"refused and failed: {reasons}"] if reasons else []
    lines += [
        f"{host.address} asked to be left alone until {host.resume_at:%Y-%m-%d %H:%M} UTC"
        for host in found.paused
        if host.resume_at
    ]
    more = len(found.queries) - _QUERIES
    lines = [f"and {more} more queries: --json has them all", *lines] if more > 0 else lines
    short: list[RenderableType] = []
    if found.short:
        short = ["", _short(found.short), "`curate loop --crawl` looks for these"]
    return Group(table, "", _queries(found), *(Text(line) for line in lines), *short)


def _queries(found: "Account") -> Rows:
    numbers = ("pages", "shown", "new", "images", "labelled")
    table = table_of("query", "source", *numbers, "of its class", numbers=numbers, prose=("query", "of its class"))
    for one in found.queries[:_QUERIES]:
        came = one.returns
        counts = (one.pages, one.shown, one.fresh, came.images if came else 0, came.labelled if came else 0)
        table.add_row(Text(one.query), Text(one.source), *map(str, counts), _share(came))
    return table


def _share(came: "Returns | None") -> Text:
    if came is None or not came.labelled:
        return Text("")
    name = came.collected_for
    if not name:
        return Text(", ".join(f"{label} {count}" for label, count in came.classes.items()))
    share = came.of(name)
    low, high = share.interval
    return Text(f"{name} {share.value:.2f} ({low:.2f} to {high:.2f})")


def _short(found: "Sequence[Shortage]") -> Rows:
    """One row a class that is short: what it lacks, what waits will bring of it, and what is looked for, and where."""
    numbers = ("labels lacking", "expected of what waits", "images to find")
    table = table_of("short", *numbers, "first by", numbers=numbers, prose=("first by",))
    for one in found:
        best = f"{one.queries[0].query} ({one.queries[0].source})" if one.queries else "none of its queries brings any"
        want = str(one.want) if one.queries else ""
        table.add_row(Text(one.name), str(one.lacks), f"{one.expected:.0f}", want, Text(best))
    return table


def health(found: "list[Health]") -> RenderableType:
    """One line a source."""
    return Text("\n".join(f"{one.source}: {one.verdict}" for one in found))
