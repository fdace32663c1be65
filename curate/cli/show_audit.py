"""What people read of an audit, and its JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import table_of

if TYPE_CHECKING:
    from curate.audit.annotators import Annotator
    from curate.audit.audit import AuditReport
    from curate.audit.catalogue import CatalogueReport
    from curate.audit.sending import Sent

_SHOWN = 20


def labels_data(report: "AuditReport", output: Path | None, sent: "Sent | None") -> dict[str, Any]:
    """The findings, the worst first, each with the images that people are asked about; and what they rest on."""
    return {
        "issues": [
            {
                "id": issue.finding.id,
                "path": issue.path,
                "label": issue.finding.label,
                "suggested": issue.finding.suggested,
                "score": round(issue.finding.score, 6),
                "kind": issue.finding.kind.value,
                "reason": issue.finding.reason,
                "like": issue.finding.like,
                "ask": issue.ask,
                "waiting": issue.waiting,
            }
            for issue in report.issues
        ],
        "kinds": report.kinds,
        "images": report.images,
        "by": report.by,
        "agree": report.agree,
        "kappa": report.kappa,
        "settled": report.settled,
        "annotators": [_annotator(one) for one in report.annotators],
        "file": None if output is None else str(output),
        "sent": None if sent is None else {"asked": sent.asked, "shown": sent.shown},
    }


def _annotator(one: "Annotator") -> dict[str, Any]:
    return {
        "name": one.name,
        "labels": one.found.of,
        "doubted": one.found.hits,
        "answers": one.overruled.of,
        "overruled": one.overruled.hits,
        "quality": one.quality,
        "noisy": one.noisy,
    }


def labels(report: "AuditReport", output: Path | None, sent: "Sent | None") -> RenderableType:
    """The worst, then how many there are, then who errs."""
    table = table_of("image", "label", "perhaps", "score", "why", numbers=("image", "score"), prose=("why",))
    for issue in report.issues[:_SHOWN]:
        finding = issue.finding
        row = (str(finding.id), finding.label, finding.suggested, f"{finding.score:.2f}", finding.reason)
        table.add_row(*map(Text, row))
    kinds = report.kinds
    lines = [
        f"{report.images} labels audited by {report.by}; {report.agree:.0%} are what would be guessed unseen",
        f"{kinds['label']} {report.doubted}, {kinds['conflict']} in conflict, {kinds['outlier']} like no other",
        *_more(len(report.issues)),
    ]
    if report.caution:
        lines.append(report.caution)
    if report.settled:
        lines.append(f"{report.settled} more were decided by people who were asked")
    lines += _noisy(report.annotators)
    if output is not None:
        lines.append(f"look at {output}")
    if sent is not None:
        lines.append(f'{sent.asked} images are asked about now; {sent.shown} are in the view "Review" in Label Studio')
    elif report.issues:
        lines.append("`curate audit --send` asks people about them in Label Studio")
    text = Text("\n".join(lines))
    return Group(table, "", text) if report.issues else text


def _noisy(people: Sequence["Annotator"]) -> list[str]:
    return [
        f"{one.name}: {one.found.hits} of {one.found.of} labels are doubted, more than others';"
        f" {one.overruled.hits} of {one.overruled.of} answers were overruled"
        for one in people
        if one.noisy
    ]


def _more(count: int) -> list[str]:
    return [f"the first {_SHOWN} are above; --json and -o FILE have more"] if count > _SHOWN else []


def catalogue_data(report: "CatalogueReport", output: Path | None) -> dict[str, Any]:
    """The offers that are doubted, the worst first, and the rows that could not be judged; `id` counts rows from 1."""
    return {
        "issues": [
            {
                "id": issue.offer.row,
                "path": issue.offer.image,
                "label": issue.label,
                "suggested": issue.suggested,
                "score": round(issue.score, 6),
                "reason": issue.reason,
            }
            for issue in report.issues
        ],
        "run": report.run,
        "offers": report.offers,
        "found": report.found,
        "failures": [
            {"id": o.row, "path": o.image, "label": o.claimed, "reason": r.reason.value, "detail": r.detail}
            for o, r in report.failures
        ],
        "file": None if output is None else str(output),
    }


def catalogue(report: "CatalogueReport", output: Path | None) -> RenderableType:
    """The worst offers, then what could not be judged."""
    table = table_of("row", "image", "claimed", "perhaps", "score", "why", numbers=("row", "score"), prose=("why",))
    for issue in report.issues[:_SHOWN]:
        row = (
            str(issue.offer.row),
            issue.offer.image,
            issue.label,
            issue.suggested,
            f"{issue.score:.2f}",
            issue.reason,
        )
        table.add_row(*map(Text, row))
    judged = report.offers - len(report.failures)
    of_all = f"{report.offers}" if judged == report.offers else f"{judged} of {report.offers}"
    lines = [
        f"{of_all} offers judged by run {report.run}: {report.found} are probably not what they claim",
        *_more(len(report.issues)),
        *(f"row {offer.row}, {offer.image}: {refusal}" for offer, refusal in report.failures),
    ]
    if output is not None:
        lines.append(f"look at {output}")
    text = Text("\n".join(lines))
    return Group(table, "", text) if report.issues else text
