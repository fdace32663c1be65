"""`curate crawl`: from classes and sources to stored images, everything found ending in exactly one state."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from curate.crawl import claims
from curate.crawl.fetch import Body, Fetcher, Kind
from curate.crawl.interface import Finder, SourceError
from curate.ingest.folder import local_path, read_file
from curate.ingest.intake import Intake, Offer, Outcome, decide, register
from curate.progress import QUIET, Progress, Task
from curate.project import Project
from db.batches import chunks
from db.models import Candidate, CandidateState
from db.reasons import Refusal

_MOST_OUTSTANDING = 200
"""Addresses of one target in work or waiting for their host, before its sources are asked for more."""


@dataclass(frozen=True)
class Target:
    """What is collected: a class, or a free query. `want` images, or all there are."""

    name: str
    class_id: int | None
    queries: tuple[str, ...]
    want: int | None


@dataclass
class TargetReport:
    """What came of one target."""

    stored: int = 0
    want: int | None = None
    full: bool = False


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


def crawl(
    project: Project,
    targets: Sequence[Target],
    finders: Sequence[Finder],
    progress: Progress = QUIET,
) -> CrawlReport:
    """Collect images for each target in turn. A crawl that was killed is gone on with by running it again."""
    project.store.sweep()
    try:
        return asyncio.run(_Crawl(project, progress).run(targets, finders))
    except ExceptionGroup as group:
        # A task group wraps what one of its tasks raised; the caller is told the first thing that went wrong.
        raise _first(group) from group


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class _Crawl:
    """One process's crawl."""

    def __init__(self, project: Project, progress: Progress) -> None:
        self.project = project
        self.progress = progress
        self.owner = claims.new_owner()
        self.intake = Intake.of(project)
        self.report = CrawlReport()
        self.seen: set[str] = set()
        """Addresses of this run: several queries show the same ones."""

    async def run(self, targets: Sequence[Target], finders: Sequence[Finder]) -> CrawlReport:
        beat = asyncio.create_task(self._beat())
        try:
            async with Fetcher(self.project.settings.crawl) as fetcher:
                for target in targets:
                    await self._collect(target, finders, fetcher)
        finally:
            beat.cancel()
            with self.project.database.write() as session:
                claims.release(session, self.owner)
        return self.report

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(claims.LEASE.total_seconds() / 3)
            with self.project.database.write() as session:
                claims.renew(session, self.owner)

    async def _collect(self, target: Target, finders: Sequence[Finder], fetcher: Fetcher) -> None:
        report = self.report.targets.setdefault(target.name, TargetReport(want=target.want))
        if target.want == 0:
            report.full = True
            return
        with self.progress.task(f"crawling {target.name}", target.want, "images") as task:
            filling = _Filling(self, target, report, fetcher, task)
            async with asyncio.TaskGroup() as group:
                await filling.take(self._left_over(target), group)
                async for offers in self._pages(target, finders, fetcher):
                    await filling.take(self._register(offers, target), group)
                    if report.full:
                        break

    def _left_over(self, target: Target) -> list[int]:
        """Candidates of a class that an earlier run found and did not get to."""
        if target.class_id is None:
            return []
        open_states = (CandidateState.PENDING, CandidateState.CLAIMED)
        query = select(Candidate).where(Candidate.state.in_(open_states), Candidate.collected_for_id == target.class_id)
        with self.project.database.read() as session:
            found = [candidate for candidate in session.scalars(query) if claims.is_open(candidate)]
        self.seen.update(candidate.address for candidate in found)
        return [candidate.id for candidate in found]

    async def _pages(self, target: Target, finders: Sequence[Finder], fetcher: Fetcher) -> AsyncIterator[list[Offer]]:
        """Take a page from every source and query in turn, so that none alone fills a class."""
        running = [(finder.name, query, finder.find(query, fetcher)) for finder in finders for query in target.queries]
        while running:
            for entry in list(running):
                source, query, pages = entry
                try:
                    yield await anext(pages)
                except StopAsyncIteration:
                    running.remove(entry)
                except SourceError as error:
                    running.remove(entry)
                    self.report.problems.append((source, query, error.refusal))
                    self.progress.say(f"{source} stopped at {query!r}: {error.refusal}")

    def _register(self, offers: Sequence[Offer], target: Target) -> list[int]:
        """Note what a page shows; give the candidates that are still to be decided."""
        fresh = list({offer.address: offer for offer in offers if offer.address not in self.seen}.values())
        self.seen.update(offer.address for offer in fresh)
        with self.project.database.write() as session:
            candidates = register(session, list(offers), target.class_id)
            is_open = {offer.address: claims.is_open(candidates[offer.address]) for offer in fresh}
            self.report.known += sum(not value for value in is_open.values())
            return [candidates[address].id for address, value in is_open.items() if value]


class _Filling:
    """One target while it fills: how many more may be started, so that it ends with exactly what is wanted."""

    def __init__(self, crawl: _Crawl, target: Target, report: TargetReport, fetcher: Fetcher, task: Task) -> None:
        self.crawl = crawl
        self.target = target
        self.report = report
        self.fetcher = fetcher
        self.task = task
        self.in_flight = 0
        self.outstanding = 0
        self.changed = asyncio.Condition()

    async def take(self, candidates: Sequence[int], group: asyncio.TaskGroup) -> None:
        """Start work on candidates, and wait while more than enough is outstanding."""
        for batch in chunks(candidates, _MOST_OUTSTANDING):
            self.outstanding += len(batch)
            for candidate_id in batch:
                group.create_task(self._work(candidate_id))
            async with self.changed:
                await self.changed.wait_for(self._wants_more_pages)

    def _wants_more_pages(self) -> bool:
        want = self.target.want
        enough = _MOST_OUTSTANDING if want is None else min(_MOST_OUTSTANDING, max(want - self.report.stored, 1))
        return self.report.full or self.outstanding < enough

    async def _work(self, candidate_id: int) -> None:
        try:
            async with self.changed:
                await self.changed.wait_for(lambda: self.report.full or self._has_room())
                if self.report.full:
                    self.crawl.report.waiting += 1
                    return
                self.in_flight += 1
            try:
                await self._fetch(candidate_id)
            finally:
                self.in_flight -= 1
        finally:
            self.outstanding -= 1
            async with self.changed:
                self.changed.notify_all()

    def _has_room(self) -> bool:
        return self.target.want is None or self.report.stored + self.in_flight < self.target.want

    async def _fetch(self, candidate_id: int) -> None:
        project, report = self.crawl.project, self.crawl.report
        with project.database.write() as session:
            candidate = claims.claim(session, candidate_id, self.crawl.owner)
            if candidate is None:  # another crawl was faster
                report.known += 1
                return
            address, local = candidate.address, candidate.local
        outcome = await self._outcome(address, local=local)
        with project.database.write() as session:
            row = session.get_one(Candidate, candidate_id)
            if row.owner != self.crawl.owner:  # our lease ran out and another has it now
                report.known += 1
                return
            (state,) = decide(session, [(row, outcome)])
            reason = row.reason
        self._count(state, reason.value if reason else "")

    async def _outcome(self, address: str, *, local: bool) -> Outcome:
        intake = self.crawl.intake
        if local:
            data = await asyncio.to_thread(read_file, local_path(address), intake.limits)
        else:
            body = await self.fetcher.get(address, Kind.IMAGE, intake.limits.max_bytes)
            data = body.data if isinstance(body, Body) else body
        return data if isinstance(data, Refusal) else await asyncio.to_thread(intake.take, data)

    def _count(self, state: CandidateState, reason: str) -> None:
        report = self.crawl.report
        if state is CandidateState.STORED:
            report.stored += 1
            self.report.stored += 1
            self.report.full = self.target.want is not None and self.report.stored >= self.target.want
            self.task.advance()
        elif state is CandidateState.DUPLICATE:
            report.duplicates += 1
        else:
            report.failed[reason] += 1
        self.task.note(f"{report.found} addresses, {report.duplicates} copies, {report.failed.total()} failed")
