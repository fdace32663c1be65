"""What came of a crawl, in numbers that add up."""

from collections import Counter
from dataclasses import dataclass, field

from db.reasons import Refusal


@dataclass(frozen=True)
class Target:
    """What is collected: a class, or a free query, or a list. `want` images, or all there are."""

    name: str
    key: str
    """As `Candidate.target` keeps it."""
    class_id: int | None
    queries: tuple[str, ...]
    """All that belong to it; what waits for others of its queries, from earlier, is let go."""
    want: int | None
    order: tuple[tuple[str, str], ...] = ()
    """Sources with those of the queries that they are asked, the first before all others. Empty: each all, in turn."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """Sources with those of the queries that are not worth what waits for them; it waits on, and for no target."""

    def queries_of(self, source: str) -> tuple[str, ...]:
        """What a source is asked, in order."""
        return tuple(query for one, query in self.order if one == source) if self.order else self.queries


@dataclass
class TargetReport:
    """What came of one target."""

    want: int | None = None
    stored: int = 0
    near_duplicates: int = 0
    """Of the stored ones: the same photograph as another that is there."""
    full: bool = False
    by_source: Counter[str] = field(default_factory=Counter)
    """Images stored, by the source that showed them first."""
    ended: dict[str, str] = field(default_factory=dict)
    """How each source stands: `exhausted`, `more` to show, or the reason why it stopped."""


@dataclass
class CrawlReport:
    """What came of a crawl: found = stored + duplicates + known + all of failed."""

    stored: int = 0
    duplicates: int = 0
    known: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    """Found, but left for a later run: there was enough."""
    targets: dict[str, TargetReport] = field(default_factory=dict)
    problems: list[tuple[str, str, Refusal]] = field(default_factory=list)
    """Sources that could not go on: source, query, why."""

    @property
    def found(self) -> int:
        """Distinct addresses that were taken up, or known already."""
        return self.stored + self.duplicates + self.known + self.failed.total()
