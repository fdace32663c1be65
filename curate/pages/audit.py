"""The pages of `curate audit`: each finding with its picture, where the best run looks, and what it is taken for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curate import runs
from curate.audit.audit import AuditReport, Issue
from curate.audit.catalogue import CatalogueReport
from curate.audit.findings import Kind
from curate.audit.offers import opened
from curate.pages.looks import Look, Looks
from curate.pages.page import Page, Section
from curate.pages.pictures import Picture, pictures
from curate.pages.thumbnails import image_address, shrunk
from curate.progress import QUIET, Progress
from curate.project import Project
from db.batches import chunks

_MOST = 300
"""Findings that the page shows: nobody looks at more at once, and those further down are less sure."""
_SIDE = 320
_AT_ONCE = 8


@dataclass(frozen=True)
class Entry:
    """A finding as the page shows it. `read` gives its picture, `like` that of an image of the suggested class."""

    title: str
    find: str
    """What the filter looks at."""
    label: str
    suggested: str
    score: float
    reason: str
    note: str
    name: str
    read: Callable[[], bytes]
    like: Callable[[], bytes] | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """An entry, and its pictures as addresses; None where one cannot be drawn."""

    entry: Entry
    picture: str | None
    look: Look | None
    like: str | None


_SECTIONS: Mapping[Kind, tuple[str, str, str]] = {
    Kind.LABEL: (
        "labels",
        "Labels that are probably wrong",
        "Each was judged by a model that had not learned from it. The surest first.",
    ),
    Kind.CONFLICT: (
        "conflicts",
        "Copies that are labelled differently",
        "One photograph under two labels, of which one is wrong. Until a person decides, it is in no split.",
    ),
    Kind.OUTLIER: (
        "outliers",
        "Like no other image",
        "Perhaps of no class, or no picture of the thing at all. The strangest first.",
    ),
}
_LEAD = (
    "`curate audit --send` asks people about these images in Label Studio, and `curate label pull` brings what they"
    " say; whoever confirms a label settles the finding."
)


def write_audit(project: Project, report: AuditReport, path: Path, progress: Progress = QUIET) -> None:
    """Write the page of an audit. Raises StoreError when `path` cannot be written."""
    shown = report.issues[:_MOST]
    with project.database.read() as session:
        likes = [issue.finding.like for issue in shown if issue.finding.like is not None]
        known = pictures(session, [*(issue.finding.id for issue in shown), *likes])
        best = runs.best(session, [c.name for c in project.settings.classes])
    looks = Looks.by(project, None if best is None else best.name, progress)
    name, _, what = _SECTIONS[Kind.LABEL]
    said = f"{what} But {report.caution}." if report.caution else what
    told = {**_SECTIONS, Kind.LABEL: (name, f"Labels that {report.doubted}", said)}
    with progress.task("drawing the page", len(shown), "findings") as task:

        def section(kind: Kind) -> Section:
            mine = [issue for issue in shown if issue.finding.kind is kind]
            cards = _drawn((_entry(project, issue, known) for issue in mine), looks, task.advance)
            return _section(told[kind], cards, report.kinds[kind.value], len(mine))

        sections = [section(kind) for kind in Kind]
        sections.append(Section("people", "People", _PEOPLE, "annotators.html", {"people": report.annotators}))
        figures: list[tuple[str, int | str]] = [
            ("labels audited", report.images),
            *((told[kind][1].casefold(), report.kinds[kind.value]) for kind in Kind),
            ("settled by people before", report.settled),
        ]
        title = f"What to look at again in {project.settings.dataset.name}"
        Page(title, _LEAD, sections, figures, "class, file name, source or number", commands=True).write(path)


_PEOPLE = (
    "Whose labels the audit doubts, and whose answers others have overruled. Quality is CROWDLAB's, of those who have"
    " answered the same images as others."
)


def write_catalogue(project: Project, report: CatalogueReport, path: Path, progress: Progress = QUIET) -> None:
    """Write the page of a list of others' images; those at addresses are fetched once more."""
    shown = report.issues[:_MOST]
    looks = Looks.by(project, report.run, progress)
    with (
        progress.task("drawing the page", len(shown), "offers") as task,
        opened(project, report.folder, [issue.offer for issue in shown]) as sources,
    ):
        entries = (
            Entry(
                title=f"Row {issue.offer.row}",
                find=f"{issue.offer.image} {issue.label} {issue.suggested}".lower(),
                label=issue.label,
                suggested=issue.suggested,
                score=issue.score,
                reason=issue.reason,
                note="",
                name=issue.offer.image,
                read=source,
            )
            for issue, source in zip(shown, sources, strict=True)
        )
        what = ("offers", "Offers that are probably not what they claim", f"Judged by run {report.run}. Surest first.")
        section = _section(what, _drawn(entries, looks, task.advance), report.found, len(shown))
        figures: list[tuple[str, int | str]] = [
            ("offers", report.offers),
            ("probably not what they claim", report.found),
            ("not judged", len(report.failures)),
        ]
        lead = "A list of others' images against what the run sees in them."
        Page("Offers to look at", lead, [section], figures, "class or file").write(path)


def _entry(project: Project, issue: Issue, known: Mapping[int, Picture]) -> Entry:
    finding, picture = issue.finding, known[issue.finding.id]

    def reader(shown: Picture) -> Callable[[], bytes]:
        return lambda: project.store.read(shown.sha256, shown.format)

    return Entry(
        title=f"Image {finding.id}",
        find=f"{picture.find} {finding.label} {finding.suggested}".lower(),
        label=finding.label,
        suggested=finding.suggested,
        score=finding.score,
        reason=finding.reason,
        note="somebody is asked already" if issue.waiting else "",
        name=picture.name or f"image {picture.id}",
        read=reader(picture),
        like=None if finding.like is None else reader(known[finding.like]),
        command=f"curate why {finding.id}",
    )


def _section(what: tuple[str, str, str], cards: Iterator[Card], count: int, shown: int) -> Section:
    key, title, lead = what
    return Section(key, title, lead, "audit.html", {"cards": cards, "more": count - shown}, count)


def _drawn(entries: Iterable[Entry], looks: Looks, advance: Callable[[int], None]) -> Iterator[Card]:
    """Draw entries a few at a time, as the page is written."""
    for some in chunks(entries, _AT_ONCE):
        small = [shrunk(entry.read, _SIDE) for entry in some]
        whole = [(picture, e.label, e.suggested) for e, picture in zip(some, small, strict=True) if picture is not None]
        drawn = iter(looks.over(whole))
        for entry, picture in zip(some, small, strict=True):
            like = None if entry.like is None else shrunk(entry.like, _SIDE)
            yield Card(
                entry,
                None if picture is None else image_address(picture),
                None if picture is None else next(drawn),
                None if like is None else image_address(like),
            )
        advance(len(some))
