"""One target while it fills: sources find, the fetcher fetches, decoders judge, the ledger writes, all side by side."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from curate.crawl import claims
from curate.crawl.claims import Work
from curate.crawl.fetch import Fetcher
from curate.crawl.finding import Finding
from curate.crawl.interface import Finder
from curate.crawl.ledger import Ledger, Result, Verdict
from curate.crawl.line import MOST_OF_A_HOST, MOST_STARTED, Line
from curate.crawl.report import CrawlReport, Target
from curate.crawl.wire import Body, Kind, Unchanged
from curate.ingest.folder import local_path, read_file
from curate.ingest.intake import Collecting, Intake
from curate.progress import Progress, Task
from db.models import CandidateState
from db.reasons import Refusal

_MOST_IN_HAND = 32
"""Files that are fetched and not decided. They are what a kill costs, and what memory holds."""
_MOST_BYTES_IN_HAND = 64_000_000
_NOTE_SECONDS = 0.2
_BACKLOG = 2_000
"""Open candidates that are enough where everything is wanted: many hosts are among them, and memory stays flat."""


@dataclass
class Crew:
    """What a crawl works with, the same for all its targets."""

    fetcher: Fetcher
    ledger: Ledger
    intake: Intake
    judges: Executor
    """Threads that wait for decoders; the loop's own look up names, and must not wait behind them."""
    owner: str
    begun_at: datetime
    progress: Progress
    stopped: dict[str, Refusal] = field(default_factory=dict)
    """Sources that are not asked again in this run, and why."""
    counted: set[int] = field(default_factory=set)
    """Candidates that this run has met: several queries show the same ones."""
    refused: set[int] = field(default_factory=set)
    """Of these, the ones whose licence this run has refused."""
    undecided: set[int] = field(default_factory=set)
    """Of the ones that were met, those that are in no count of the report yet."""


class Filling:
    """Fills one target up to a number of stored images, or until its sources have no more."""

    def __init__(self, crew: Crew, target: Target, collecting: Collecting, report: CrawlReport, task: Task) -> None:
        self.crew = crew
        self.target = target
        self.collecting = collecting
        self.total = report
        self.report = report.targets[target.name]
        self.task = task
        self.limit = target.want
        """Images to be stored; more than wanted once some have turned out to be near-duplicates."""
        self.stored_ids: list[int] = []
        self.poor = 0
        """Images that were stored, but set aside: they fill nothing."""
        self.open = 0
        """Candidates that nobody has claimed, as far as is known."""
        self.starved = False
        """Whether what is open waits for hosts that have enough to do."""
        self.wake = asyncio.Event()
        self.hungry = asyncio.Event()
        self.line = Line(self.wake)
        self.noted = 0.0
        self.placed = 0
        """Images on their way into the store; some may turn out to be there already."""
        self.place_free = asyncio.Condition()
        self.reading = asyncio.Semaphore(2)
        """Files of the user's own, read one after the other: nothing else holds them back."""
        self.in_hand: Counter[int] = Counter()
        """Bytes that are held, by candidate."""

    @property
    def full(self) -> bool:
        """Whether as many images are stored as are wanted."""
        return self.limit is not None and self._lacking(self.limit) <= 0

    def _lacking(self, limit: int) -> int:
        return limit - (self.report.stored - self.poor)

    async def run(self, finders: Sequence[Finder]) -> None:
        """Work until the target is full or nothing is left."""
        self.open = await self._count_open()
        self.line.call()
        try:
            async with asyncio.TaskGroup() as group:
                finding = [Finding(self, finder, group) for finder in finders]
                await self._work_through(group, finding)
                self.task.note(self._standing())
                for running in [*(found.running for found in finding), *self.line.running]:
                    running.cancel()
        finally:
            left = list(self.line.claimed)
            self.line.claimed.clear()
            await self.crew.ledger.do(lambda session: claims.release_some(session, left, self.crew.owner))

    async def _count_open(self) -> int:
        target, owner, again = self.target.key, self.crew.owner, self.collecting.again
        return await self.crew.ledger.read(lambda session: claims.open_count(session, target, owner, again=again))

    async def _work_through(self, group: asyncio.TaskGroup, finding: Sequence[Finding]) -> None:
        """Start work as there is room for it, and let the sources know when there is too little to do."""
        while not self.full:
            self.wake.clear()
            if self.open > 0 and self.line.is_due:
                await self._start_more(group)
            # What cannot be started for hosts that take too long must not keep other sources from being asked.
            stuck = self.starved and self.line.holding < len(self.line.running)
            outstanding = (0 if stuck else self.open) + self.line.holding
            (self.hungry.set if outstanding < self._enough() else self.hungry.clear)()
            if self.line.running or not all(found.running.done() for found in finding):
                await self.wake.wait()
                continue
            self.open = await self._count_open()
            if not self.open:
                return
            self.line.is_due = True

    def _enough(self) -> int:
        """Candidates outstanding, before sources are asked for more: no question is put that may not be needed."""
        return _BACKLOG if self.limit is None else min(_BACKLOG, self._lacking(self.limit))

    async def _start_more(self, group: asyncio.TaskGroup) -> None:
        room = MOST_STARTED if self.limit is None else min(MOST_STARTED, self._lacking(self.limit))
        most = room - self.line.holding
        if most > 0:
            target, owner, busy = self.target.key, self.crew.owner, Counter(self.line.of_host)
            again = self.collecting.again
            taken = await self.crew.ledger.do(
                lambda session: claims.claim(session, target, owner, most, MOST_OF_A_HOST, busy, again=again)
            )
            # Nothing to take, and nothing under way that keeps a host busy: another crawl has taken the rest.
            self.open = max(0, self.open - len(taken)) if taken or self.line.running else 0
            self.starved = len(taken) < most
            for work in taken:
                self.crew.counted.add(work.id)
                self.crew.undecided.add(work.id)
                self.line.enter(work, group.create_task(self._work(work)))
        self.line.filled()

    async def _work(self, work: Work) -> None:
        found = await self._fetch(work)
        if isinstance(found, Body):
            self._hold(work, len(found.data))
            try:
                await self._judge(work, found)
            finally:
                self._hold(work, 0)
        else:
            self._count(work, await self.crew.ledger.decide(Result(work, found, work.seen)))

    async def _fetch(self, work: Work) -> Body | Unchanged | Refusal:
        limits = self.crew.intake.limits
        if not work.local:
            return await self.crew.fetcher.get(work.address, Kind.IMAGE, limits.max_bytes, seen=work.seen)
        async with self.reading:
            await self.crew.fetcher.may_begin.wait()
            data = await asyncio.to_thread(read_file, local_path(work.address), limits)
            if isinstance(data, Refusal):
                return data
            self._hold(work, len(data))
            return Body(data, work.address, {})

    def _hold(self, work: Work, size: int) -> None:
        """Note what is in hand, and let nothing new be fetched while that is too much."""
        if size:
            self.in_hand[work.id] = size
        else:
            del self.in_hand[work.id]
        too_much = len(self.in_hand) >= _MOST_IN_HAND or self.in_hand.total() >= _MOST_BYTES_IN_HAND
        may_begin = self.crew.fetcher.may_begin
        may_begin.clear() if too_much else may_begin.set()

    async def _judge(self, work: Work, body: Body) -> None:
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(self.crew.judges, self.crew.intake.judge, body.data)
        if isinstance(outcome, Refusal):
            self._count(work, await self.crew.ledger.decide(Result(work, outcome, body.seen)))
            return
        async with self._place():
            verdict = await self.crew.ledger.decide(Result(work, outcome, body.seen, body.data))
            self._count(work, verdict, in_use=outcome.finding is None)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait until there is room for one image more: no more are stored than are wanted."""
        async with self.place_free:
            await self.place_free.wait_for(lambda: self.limit is None or self.placed < self._lacking(self.limit))
            self.placed += 1
        try:
            yield
        finally:
            self.placed -= 1
            async with self.place_free:
                self.place_free.notify_all()

    def _count(self, work: Work, verdict: Verdict, *, in_use: bool = True) -> None:
        self.line.claimed.discard(work.id)
        self.crew.undecided.discard(work.id)
        total = self.total
        if verdict.state is None:
            total.known += 1
        elif verdict.state is CandidateState.STORED:
            self._count_stored(work, verdict, in_use=in_use)
        elif verdict.state is CandidateState.DUPLICATE:
            total.duplicates += 1
        else:
            total.failed[verdict.reason.value if verdict.reason else ""] += 1
        if time.monotonic() - self.noted >= _NOTE_SECONDS:
            self.noted = time.monotonic()
            self.task.note(self._standing())

    def _count_stored(self, work: Work, verdict: Verdict, *, in_use: bool) -> None:
        self.total.stored += 1
        self.report.stored += 1
        self.report.by_source[work.source] += 1
        if not in_use:
            self.poor += 1
            return
        if verdict.image_id is not None:
            self.stored_ids.append(verdict.image_id)
        self.task.advance()
        if self.full:
            self.wake.set()

    def _standing(self) -> str:
        """One line: what fills the target, what became of the rest, and which hosts are waited for."""
        by_source = ", ".join(f"{source} {number}" for source, number in self.report.by_source.most_common())
        total = self.total
        parts = [by_source, f"{total.found} addresses, {total.duplicates} copies, {total.failed.total()} failed"]
        parts += [_queue(host.address, host.waiting, host.paused()) for host in self.crew.fetcher.hosts.busiest(2)]
        return "; ".join(part for part in parts if part)


def _queue(address: str, waiting: int, paused: float) -> str:
    name = address.partition("://")[2]
    return f"{name}: {waiting} waiting" + (f", paused for {paused:.0f} s" if paused >= 1 else "")
