"""Answers in from people: whatever was made, changed, skipped or deleted since the last time, each change on record."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from db.batches import chunks
from db.errors import LabelStudioError
from db.faults import fault
from db.labels import Answer, Recorded, record
from db.models import (
    AnnotationState,
    LabellingProject,
)
from labeler.ahead import ahead
from labeler.answers import answers_of, mendable
from labeler.client import Server
from labeler.dataset import Dataset
from labeler.known import answers_known, release_keys, unaccounted
from labeler.order import keep_order
from labeler.people import learn_names
from labeler.stock import adopt, note_gone, take_stock, too_many
from labeler.withdraw import withdraw_tasks

_OVERLAP = timedelta(seconds=60)
"""Of two pulls: a transaction on the server may become visible after a later one's time."""


@dataclass
class PullReport:
    """What a pull brought. `annotations` counts all answers that were new or changed."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    """Answers among the `updated` that are no longer there."""
    tasks_gone: int = 0
    doubled: int = 0
    """Pictures that stand twice on the server, with answers at both: those of one are not taken in."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Answers that name no class of ours and can be mended, by what they say."""

    projects_gone: list[str] = field(default_factory=list)
    """Further projects that were deleted on the server; their labels stay."""

    def with_more(self, other: "PullReport") -> "PullReport":
        """Add what the pull of another project brought, after this one."""
        return PullReport(
            self.created + other.created,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.tasks_gone + other.tasks_gone,
            self.doubled + other.doubled,
            dict(Counter(self.unusable) + Counter(other.unusable)),
        )

    @property
    def annotations(self) -> int:
        """Answers taken in."""
        return self.created + self.updated


def pull_annotations(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    *,
    accept_deletions: bool = False,
    full: bool = False,
    settled: dict[int, int] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> PullReport:
    """Take in every answer that changed since the last pull, or all where `full` says so.

    Where the server counts other answers than we know of, all are read too. `settled` remembers, by project, what was
    unaccounted for after that: so whoever pulls again and again does not read all each time. `advance` is told how many
    tasks are read.

    Raises LabelStudioError, and takes nothing away, when the project is gone, or when more than a few tasks or answers
    have vanished and `accept_deletions` does not say that this was meant.
    """
    report = PullReport()
    withdraw_tasks(dataset, server, project)  # first of all: what we delete ourselves is nothing to be asked about
    stock = take_stock(dataset, server, project)
    report.tasks_gone = note_gone(dataset, project, stock, accept_deletions=accept_deletions)
    adopted = adopt(dataset, server, project, stock)
    report.doubled = adopted.doubled
    since = None if full or adopted.found else project.pulled_until
    _read(dataset, server, project, since, report, advance, accept_deletions=accept_deletions)
    if since is not None and not report.annotations:
        settled = {} if settled is None else settled
        if unaccounted(dataset, project, stock) != settled.get(project.id, 0):
            # Whatever it was (a clock set back, answers moved by an action of the server's): what it says has changed
            # is not all that has.
            _read(dataset, server, project, None, report, advance, accept_deletions=accept_deletions)
        settled[project.id] = unaccounted(dataset, project, stock)
    _look_again(dataset, project, report)
    if learn_names(dataset, server):
        keep_order(dataset, server, project)  # with several people it is another way
    fault("pull.read")
    with dataset.database.write() as session:
        # By the server's clock when it was asked, not by the newest change seen: what changes meanwhile comes again.
        row = session.get_one(LabellingProject, project.id)
        row.pulled_until = None if stock.moment is None else stock.moment - _OVERLAP
    return report


def _read(
    dataset: Dataset,
    server: Server,
    project: LabellingProject,
    since: datetime | None,
    report: PullReport,
    advance: Callable[[int], None],
    *,
    accept_deletions: bool,
) -> None:
    vanished: dict[str, Answer] = {}
    for page in ahead(server.changed_tasks(project.number, since)):
        for tasks in chunks(page.tasks):
            with dataset.database.write() as session:
                found, deleted = answers_of(session, dataset, project, tasks)
                vanished.update((answer.key, answer) for answer in deleted)
                for key in release_keys(session, found):
                    vanished.pop(key, None)
                _count(report, record(session, found))
            advance(len(tasks))
    _take_away(dataset, project, list(vanished.values()), report, accept_deletions=accept_deletions)


def _take_away(
    dataset: Dataset,
    project: LabellingProject,
    vanished: Sequence[Answer],
    report: PullReport,
    *,
    accept_deletions: bool,
) -> None:
    """Record that answers were deleted, unless they are suspiciously many."""
    if not vanished:
        return
    with dataset.database.write() as session:
        known = answers_known(session, project, AnnotationState.DELETED)
        if too_many(len(vanished), known) and not accept_deletions:
            raise LabelStudioError(
                f"{len(vanished)} of {known} answers are no longer in Label Studio; none was taken away here. If that"
                " was meant, say so: `curate label pull --accept-deletions`"
            )
        recorded = record(session, vanished)
    _count(report, recorded)
    report.deleted += recorded.updated


def _look_again(dataset: Dataset, project: LabellingProject, report: PullReport) -> None:
    with dataset.database.write() as session:
        _count(report, record(session, mendable(session, dataset, [project.id], report.unusable)))


def _count(report: PullReport, recorded: Recorded) -> None:
    report.created += recorded.created
    report.updated += recorded.updated
