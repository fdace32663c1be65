"""`curate crawl`: from classes and sources to stored images, everything found ending in exactly one state."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from filelock import Timeout
from sqlalchemy.orm import Session

from curate.crawl import claims, searches, waiting
from curate.crawl.fetch import Fetcher
from curate.crawl.filling import Crew, Filling
from curate.crawl.hosts import Pace
from curate.crawl.interface import Finder
from curate.crawl.ledger import Ledger, known_paces
from curate.crawl.report import CrawlReport, Target, TargetReport
from curate.dedup.groups import extra_copies
from curate.dedup.search import dedup
from curate.ingest.decoders import Decoders
from curate.ingest.intake import Collecting, Intake
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.rights import Policy
from db.errors import CurateError
from db.models.base import now
from db.reasons import Reason

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class CrawlOptions:
    """What a crawl is told beside its targets."""

    policy: Policy = Policy.ANY
    recheck: bool = False
    """Ask for nothing new, but again for what was found before: it may have changed."""


def crawl(
    project: Project,
    targets: Sequence[Target],
    finders: Sequence[Finder],
    options: CrawlOptions = CrawlOptions(),
    progress: Progress = QUIET,
) -> CrawlReport:
    """Collect images for each target in turn. A crawl that was killed is gone on with by running it again."""
    project.store.sweep()
    # One that is named twice would turn each page twice, and find nothing new on its own second look.
    once = list({finder.name: finder for finder in finders}.values())
    try:
        return asyncio.run(_Crawl(project, options, progress).run(targets, once))
    except ExceptionGroup as group:
        # A task group wraps what one of its tasks raised; the caller is told the first thing that went wrong.
        raise _first(group) from group


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class _Crawl:
    """One process's crawl."""

    def __init__(self, project: Project, options: CrawlOptions, progress: Progress) -> None:
        self.project = project
        self.options = options
        self.progress = progress
        self.owner = claims.new_owner()
        self.begun_at = now()
        self.report = CrawlReport()
        self.opened: dict[str, None] = {}
        """Targets that something was done for."""

    async def run(self, targets: Sequence[Target], finders: Sequence[Finder]) -> CrawlReport:
        """Fill each target in turn."""
        settings = self.project.settings
        with Decoders(settings.ingest) as decoders, ThreadPoolExecutor((os.cpu_count() or 1) + 1, "judge") as judges:
            intake = Intake.of(self.project, decoders.examine)
            async with Ledger(self.project.database, self.owner, intake.keep) as ledger:
                paces = await ledger.do(_begin)
                async with Fetcher(settings.crawl, paces, ledger.remember) as fetcher:
                    crew = Crew(fetcher, ledger, intake, judges, self.owner, self.begun_at, self.progress)
                    await self._fill_all(crew, targets, finders)
        return self.report

    async def _fill_all(self, crew: Crew, targets: Sequence[Target], finders: Sequence[Finder]) -> None:
        beat = asyncio.create_task(self._beat(crew.ledger))
        try:
            for target in targets:
                await self._fill(crew, target, finders)
            # At the end: what one target leaves the next one may take.
            self.report.waiting = await crew.ledger.read(self._waiting)
        finally:
            beat.cancel()
            await crew.ledger.do(lambda session: claims.release(session, self.owner))

    async def _beat(self, ledger: Ledger) -> None:
        while True:
            await asyncio.sleep(claims.LEASE.total_seconds() / 6)
            # A disk that is full for a moment must not end this: the next beat is soon enough.
            with contextlib.suppress(CurateError):
                await ledger.do(lambda session: claims.renew(session, self.owner))

    async def _fill(self, crew: Crew, target: Target, finders: Sequence[Finder]) -> None:
        report = self.report.targets.setdefault(target.name, TargetReport(want=target.want))
        report.full = target.want == 0
        if report.full:
            return
        collecting = Collecting(target.key, target.class_id, self.options.policy, self.begun_at, self.options.recheck)
        refused = await crew.ledger.do(lambda session: self._open(session, target, finders))
        asked = () if self.options.recheck else finders
        crew.counted.update(refused)
        crew.refused.update(refused)
        self.report.failed += Counter({Reason.LICENCE_REFUSED.value: len(refused)})
        with self.progress.task(f"crawling {target.name}", target.want, "images") as task:
            filling = Filling(crew, target, collecting, self.report, task)
            await filling.run(asked)
            while await self._lacks_some(filling):
                await filling.run(asked)
        await self._count_rest(crew)

    async def _count_rest(self, crew: Crew) -> None:
        """Count what was found and not decided by us nor waits: another crawl has it."""
        undecided = list(crew.undecided)
        crew.undecided.clear()
        self.report.known += await crew.ledger.read(
            lambda session: claims.taken_by_others(session, undecided, self.owner)
        )

    def _waiting(self, session: Session) -> int:
        again = self.options.recheck
        return sum(claims.open_count(session, target, self.owner, again=again) for target in self.opened)

    def _open(self, session: Session, target: Target, finders: Sequence[Finder]) -> list[int]:
        """Take up what an earlier run left of a target, and give what of it may not be used under the present terms."""
        self.opened[target.key] = None
        if self.options.recheck:
            claims.recheck(session, target.key, self.project.store)
            return []
        claims.reopen(session, target.key, self.begun_at)
        waiting.keep_to_queries(session, target, finders)
        for finder in finders:
            searches.begin(session, finder, target.queries_of(finder.name), target.key)
        return waiting.keep_to_terms(session, target, self.options.policy)

    async def _lacks_some(self, filling: Filling) -> bool:
        """Look for near-duplicates among what came: they fill no class. Tell whether more can and must be fetched."""
        want, report = filling.target.want, filling.report
        if want is None or not filling.stored_ids:
            return False
        await self._wait_for_others("dedup")
        await asyncio.to_thread(dedup, self.project)
        ids = filling.stored_ids
        report.near_duplicates = await filling.crew.ledger.read(lambda session: extra_copies(session, ids))
        was_full = filling.full
        filling.limit = want + report.near_duplicates
        report.full = filling.full
        return was_full and not filling.full

    async def _wait_for_others(self, what: str) -> None:
        """Wait until nobody else does `what`. Ctrl-C is heard meanwhile, which a thread that waits would hold up."""
        while True:
            with contextlib.suppress(Timeout), self.project.lock(what).acquire(blocking=False):
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _begin(session: Session) -> list[Pace]:
    claims.release_stale(session)
    return known_paces(session)
