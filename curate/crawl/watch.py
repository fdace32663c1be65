"""`curate doctor --sources`: asks each source one small question, and says which no longer answers as it did."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate.crawl.fetch import Fetcher
from curate.crawl.hosts import Pace
from curate.crawl.interface import Finder, SourceError
from curate.crawl.settings import CrawlSettings
from curate.crawl.sources import Credentials, make
from curate.ingest.intake import Offer
from db.errors import ConfigError
from db.reasons import Reason

_QUESTION = "guitar"
"""Every source has pictures of one."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one source answered. `reason` is empty where it is well."""

    source: str
    reason: str
    detail: str
    offers: int

    @property
    def verdict(self) -> str:
        """In one line, for people."""
        return f"{self.reason}: {self.detail}" if self.reason else f"well, {self.offers} pictures on its first page"


def examine_all(settings: CrawlSettings, credentials: Credentials, known: Iterable[Pace] = ()) -> list[Health]:
    """Ask every source of `crawl.sources`; one that cannot be asked, as it lacks a key, keeps none from being asked.

    Raises ConfigError where there is none.
    """
    if not settings.sources:
        raise ConfigError("there is no source to ask; name some in crawl.sources")
    finders: list[Finder] = []
    lacking: list[Health] = []
    for name in settings.sources:
        try:
            finders.append(make(name, settings, credentials))
        except ConfigError as error:
            lacking.append(Health(name, Reason.UNREADABLE.value, str(error), 0))
    return [*examine(finders, settings, known), *lacking]


def examine(finders: Sequence[Finder], settings: CrawlSettings, known: Iterable[Pace] = ()) -> list[Health]:
    """Ask all sources at once, each as it is `known` to want to be asked.

    Nothing is written down, and no picture is fetched.
    """

    async def ask_all() -> list[Health]:
        async with Fetcher(settings, known) as fetcher:
            return list(await asyncio.gather(*(_ask(finder, fetcher) for finder in finders)))

    return asyncio.run(ask_all())


async def _ask(finder: Finder, fetcher: Fetcher) -> Health:
    try:
        page = await finder.page(finder.first(_QUESTION), fetcher)
    except SourceError as error:
        return Health(finder.name, error.refusal.reason.value, error.refusal.detail, 0)
    if problem := _odd(page.offers):
        return Health(finder.name, Reason.SOURCE_CHANGED.value, problem, len(page.offers))
    return Health(finder.name, "", "", len(page.offers))


def _odd(offers: Sequence[Offer]) -> str:
    """Say what is wrong with an answer that could be read: a changed form often shows as emptiness."""
    if not offers:
        return f"no picture for {_QUESTION!r}, which every source has"
    if not any(offer.address.startswith(("http://", "https://")) for offer in offers):
        return f"addresses are no addresses any more: {offers[0].address[:60]!r}"
    return ""
