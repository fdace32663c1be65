"""One source at work for one target: it turns page after page while there is too little to fetch."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from curate.crawl import searches
from curate.crawl.interface import Finder, Page, SourceError
from curate.crawl.searches import Shown, Turn
from curate.ingest.intake import register
from db.models import Candidate, CandidateState
from db.reasons import Reason, Refusal

if TYPE_CHECKING:
    from curate.crawl.filling import Filling

_FAILURES_IN_A_ROW = 2
"""After this many a search engine is left alone for the run: a page it no longer gives, it gives for no query."""
_FAILURES_OF_A_LIST = 20
"""A site may well have that many broken pages."""


@dataclass(slots=True)
class _Counts:
    open: int = 0
    known: int = 0
    refused: int = 0


class Finding:
    """Lets one finder find for a filling; `running` is done when the source has no more, or stops."""

    def __init__(self, filling: "Filling", finder: Finder, group: asyncio.TaskGroup) -> None:
        self._filling = filling
        self._crew = filling.crew
        self._target = filling.target
        self._finder = finder
        self._failed: list[int] = []
        self._in_a_row = 0
        self.running = group.create_task(self._run())

    async def _run(self) -> None:
        ended = self._filling.report.ended
        ended[self._finder.name] = "more"
        try:
            ended[self._finder.name] = await self._turn_pages()
        finally:
            self.running.add_done_callback(lambda _: self._filling.wake.set())

    async def _turn_pages(self) -> str:
        """Turn page after page, and say how the source stands at the end."""
        while True:
            if refusal := self._crew.stopped.get(self._finder.name):
                return refusal.reason.value
            await self._filling.hungry.wait()
            turn = await self._crew.ledger.read(self._next_turn)
            if turn is None:
                return "more" if self._failed else "exhausted"
            try:
                page = await self._finder.page(turn.question, self._crew.fetcher)
            except SourceError as error:
                self._note_failure(turn, error.refusal)
            else:
                self._in_a_row = 0
                await self._take(turn, page)

    def _next_turn(self, session: Session) -> Turn | None:
        asked = [self._finder.first(query).query for query in self._target.queries_of(self._finder.name)]
        in_order = bool(self._target.order)
        return searches.following(session, self._finder.name, self._target.key, self._failed, asked, in_order=in_order)

    def _note_failure(self, turn: Turn, refusal: Refusal) -> None:
        self._failed.append(turn.id)
        self._in_a_row += 1
        what = turn.question.part or turn.question.query
        self._filling.total.problems.append((self._finder.name, what, refusal))
        self._crew.progress.say(f"{self._finder.name} stopped at {what!r}: {refusal}")
        most = _FAILURES_IN_A_ROW if self._finder.searches else _FAILURES_OF_A_LIST
        if refusal.reason is Reason.RATE_LIMITED or self._in_a_row >= most:
            self._crew.stopped[self._finder.name] = refusal

    async def _take(self, turn: Turn, page: Page) -> None:
        counts = await self._crew.ledger.do(lambda session: self._register(session, turn, page))
        filling = self._filling
        filling.total.known += counts.known
        filling.total.failed += Counter({Reason.LICENCE_REFUSED.value: counts.refused})
        filling.open += counts.open
        filling.starved = filling.starved and counts.open <= 0
        if counts.open > 0:
            # Only as much as is enough: what comes after is read when this has been worked through.
            filling.hungry.clear()
            filling.line.call()

    def _register(self, session: Session, turn: Turn, page: Page) -> _Counts:
        """Note what a page shows, and that it was read, in one transaction."""
        candidates = register(session, page.offers, self._filling.collecting)
        met = [candidate for candidate in candidates.values() if candidate.id not in self._crew.counted]
        news = [candidate for candidate in candidates.values() if candidate.found_at >= self._crew.begun_at]
        fresh = sum(candidate.id not in self._crew.counted for candidate in news)
        # A slice shows first what the whole query showed a moment ago: that is no sign that it has nothing of its own.
        shown = Shown(fresh, bool(news if turn.question.part else fresh))
        searches.turn_page(session, self._finder, turn, page, shown, self._crew.begun_at)
        counts = _Counts()
        for candidate in candidates.values():
            if self._is_refused(candidate):
                self._count_refused(candidate, counts)
        for candidate in met:
            self._count(candidate, counts)
        return counts

    def _is_refused(self, candidate: Candidate) -> bool:
        """Whether its licence was refused in this run, and nobody has counted it yet."""
        if candidate.reason is not Reason.LICENCE_REFUSED or candidate.id in self._crew.refused:
            return False
        return candidate.decided_at is not None and candidate.decided_at >= self._crew.begun_at

    def _count_refused(self, candidate: Candidate, counts: _Counts) -> None:
        # It may have waited until another source said more of it.
        counts.open -= candidate.id in self._crew.undecided
        self._crew.undecided.discard(candidate.id)
        self._crew.counted.add(candidate.id)
        self._crew.refused.add(candidate.id)
        counts.refused += 1

    def _count(self, candidate: Candidate, counts: _Counts) -> None:
        if candidate.id in self._crew.refused:
            return
        self._crew.counted.add(candidate.id)
        if candidate.state is CandidateState.PENDING and candidate.target == self._target.key:
            self._crew.undecided.add(candidate.id)
            counts.open += 1
        elif candidate.state is CandidateState.CLAIMED:
            self._crew.undecided.add(candidate.id)  # another crawl is at it, and may yet leave it to us
        else:
            counts.known += 1
