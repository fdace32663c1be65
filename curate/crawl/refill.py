"""`curate loop --crawl`: what was learned goes back to the crawler, which brings more of the classes that are short."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from curate.crawl.crawl import CrawlOptions, crawl
from curate.crawl.report import CrawlReport, Target
from curate.crawl.shortage import Shortage, shortages
from curate.crawl.sources import Credentials, make
from curate.progress import Progress, Task
from curate.project import Project
from curate.rights import Policy
from db.errors import CurateError


def refill(project: Project, progress: Progress) -> dict[str, int]:
    """Crawl for classes that are short of labels and of candidates; give the new images of each.

    A crawl that cannot be done is told in one line, and no error: a loop goes on without it.
    """
    try:
        short = shortages(project, project.settings.crawl.sources)
        for line in _said(short):
            progress.say(line)
        wanted = [one for one in short if one.queries]
        return _crawl(project, wanted, progress) if wanted else {}
    except (CurateError, OSError) as error:
        progress.say(f"nothing was crawled: {error}")
        return {}


def _said(short: list[Shortage]) -> Iterator[str]:
    for one in short:
        yield from (dropped.why(one.name) for dropped in one.dropped)
        if not one.queries:
            yield f"no query brings {one.name}, which lacks {one.lacks} labels; add some to curate.toml"


def _crawl(project: Project, short: list[Shortage], progress: Progress) -> dict[str, int]:
    settings = project.settings.crawl
    finders = [make(name, settings, Credentials.of(os.environ)) for name in settings.sources]
    with project.database.read() as session:
        ids = project.classes(session)
    targets = [_target(one, ids[one.name], project.settings.queries(one.name)) for one in short]
    report = crawl(project, targets, finders, CrawlOptions(Policy(settings.licence)), _Muted(progress))
    for line in _outcome(short, report):
        progress.say(line)
    return {one.name: report.targets[one.name].stored for one in short}


def _target(one: Shortage, class_id: int, all_queries: Sequence[str]) -> Target:
    # With those that are not asked this time: a target's other queries are taken for given up.
    queries = tuple(dict.fromkeys([*all_queries, *(asked.query for asked in one.queries)]))
    order = tuple((asked.source, asked.query) for asked in one.queries)
    left_out = frozenset((dropped.source, dropped.query) for dropped in one.dropped)
    return Target(one.name, f"class:{class_id}", class_id, queries, one.want, order, left_out)


def _outcome(short: list[Shortage], report: CrawlReport) -> Iterator[str]:
    """Yield a line a class; or one for all, where no source has brought anything."""
    if not report.stored and report.problems:
        stands = "; ".join(sorted({f"{source}: {refusal}" for source, _, refusal in report.problems}))
        yield f"nothing was crawled for {', '.join(one.name for one in short)} ({stands}); going on without"
        return
    for one in short:
        found = report.targets[one.name]
        lacks = f"{one.name} lacks {one.lacks} labels, {one.expected:.0f} are to be expected of what waits"
        yield f"{lacks}: {found.stored} of {one.want} more images crawled"


@dataclass(frozen=True)
class _Muted:
    """Progress without the crawl's own lines: what came of it is told at its end."""

    progress: Progress

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:
        """Show the piece of work."""
        with self.progress.task(name, total, unit) as task:
            yield task

    def say(self, message: str) -> None:
        """Say nothing."""
