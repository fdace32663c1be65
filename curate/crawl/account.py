"""`curate status --crawl`: what became of every address, by class and by the source that showed it first."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sqlalchemy import Row, case, func, select
from sqlalchemy.orm import Session

from curate.crawl.hosts import Pace
from curate.crawl.returns import Returns, returns
from curate.crawl.shortage import Shortage, shortages
from curate.project import Project
from db.models import Candidate, CandidateState, Class, Host, Search, SearchState, Sighting
from db.models.base import now
from db.reasons import Reason


@dataclass
class Counts:
    """Addresses of one class and source: found = stored + duplicate + refused + failed + open.

    `refused` are those that may not be had or used (robots.txt, licences, limits), `failed` those that could not.
    """

    class_name: str
    source: str
    found: int = 0
    stored: int = 0
    duplicate: int = 0
    refused: int = 0
    failed: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Yield:
    """What one query brought from one source."""

    source: str
    query: str
    pages: int
    shown: int
    fresh: int
    open: bool
    returns: Returns | None = None
    """What people say of the images; None where none was stored."""


@dataclass
class Account:
    """All of it."""

    rows: list[Counts] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    queries: list[Yield] = field(default_factory=list)
    paused: list[Pace] = field(default_factory=list)
    short: list[Shortage] = field(default_factory=list)
    """Classes that lack labels and images that could have them."""


def account(project: Project) -> Account:
    """Count every address once, under the class and the source that it was first seen with."""
    with project.database.read() as session:
        found = Account(*counted(session), _yields(session), _paused(session))
    return replace(found, short=shortages(project, project.settings.crawl.sources))


def counted(session: Session) -> tuple[list[Counts], dict[str, int]]:
    """Addresses by class and source, and the reasons of those that gave nothing, with how many there are of each."""
    return _rows(_counted(session), {c.id: c.name for c in session.scalars(select(Class))})


def _counted(session: Session) -> Iterable[Row[int | None, str, CandidateState, Reason | None, int]]:
    first = select(Sighting.candidate_id, func.min(Sighting.id).label("id")).group_by(Sighting.candidate_id).subquery()
    columns = (Candidate.collected_for_id, Sighting.source, Candidate.state, Candidate.reason)
    query = (
        select(*columns, func.count())
        .join(first, first.c.candidate_id == Candidate.id)
        .join(Sighting, Sighting.id == first.c.id)
        .group_by(*columns)
    )
    return session.execute(query).all()


def _rows(
    counted: Iterable[Row[int | None, str, CandidateState, Reason | None, int]], names: dict[int, str]
) -> tuple[list[Counts], dict[str, int]]:
    found: dict[tuple[str, str], Counts] = {}
    reasons: Counter[str] = Counter()
    for class_id, source, state, reason, number in counted:
        key = (names.get(class_id, "") if class_id is not None else "", source)
        counts = found.setdefault(key, Counts(*key))
        counts.found += number
        column = _column(state, reason)
        setattr(counts, column, getattr(counts, column) + number)
        if reason is not None and state is CandidateState.FAILED:
            reasons[reason.value] += number
    return [found[key] for key in sorted(found)], dict(reasons.most_common())


def _column(state: CandidateState, reason: Reason | None) -> str:
    if state is CandidateState.FAILED:
        return "refused" if reason is not None and reason.refused else "failed"
    return state.value if state in {CandidateState.STORED, CandidateState.DUPLICATE} else "open"


def _yields(session: Session) -> list[Yield]:
    columns = (Search.source, Search.query)
    open_ones = func.sum(case((Search.state == SearchState.OPEN, 1), else_=0))
    sums = (func.sum(Search.pages), func.sum(Search.shown), func.sum(Search.fresh), open_ones)
    query = select(*columns, *sums).group_by(*columns).order_by(sums[2].desc(), *columns)
    known = {(one.source, one.query): one for one in returns(session)}
    return [
        Yield(row[0], row[1], row[2], row[3], row[4], row[5] > 0, known.get((row[0], row[1])))
        for row in session.execute(query)
    ]


def _paused(session: Session) -> list[Pace]:
    query = select(Host).where(Host.resume_at > now()).order_by(Host.resume_at)
    return [Pace(host.address, host.resume_at, host.interval) for host in session.scalars(query)]
