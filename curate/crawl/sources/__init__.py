"""The sources there are. A new one is one new file, and one line here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from curate.crawl.interface import Finder
from curate.crawl.settings import CrawlSettings
from curate.crawl.sources.bing import BingFinder
from curate.crawl.sources.commons import CommonsFinder
from curate.crawl.sources.flickr import FlickrFinder
from curate.crawl.sources.folder import FolderFinder
from curate.crawl.sources.google import GoogleFinder
from curate.crawl.sources.openverse import OpenverseFinder
from curate.crawl.sources.site import SiteFinder
from curate.crawl.sources.urls import UrlsFinder
from db.errors import ConfigError

ENGINES = ("openverse", "commons", "bing", "google", "flickr")
"""Sources that answer queries, by the names that crawl.sources and `--source` have for them."""


@dataclass(frozen=True)
class Credentials:
    """What some sources ask for. Never shown: not in a repr, not in a message."""

    openverse: tuple[str, str] | None = field(default=None, repr=False)
    """Client id and secret."""
    flickr: str = field(default="", repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read what the environment has of them."""
        pair = environment.get("CURATE_OPENVERSE_CLIENT_ID", ""), environment.get("CURATE_OPENVERSE_CLIENT_SECRET", "")
        return cls(pair if all(pair) else None, environment.get("CURATE_FLICKR_KEY", ""))


def make(name: str, settings: CrawlSettings, credentials: Credentials) -> Finder:
    """Make the source that `--source` names: an engine, or `site=URL`, `urls=FILE`, `folder=DIR`.

    Raises ConfigError for one that is not there, and for a file, a folder or a credential that is not.
    """
    kind, equals, value = name.partition("=")
    if equals and value and kind == "site":
        return SiteFinder(value, settings.site)
    if equals and value and kind == "urls":
        return UrlsFinder(_there(Path(value), "file"))
    if equals and value and kind == "folder":
        return FolderFinder(_there(Path(value), "folder"))
    return _engine(name, settings, credentials)


def _engine(name: str, settings: CrawlSettings, credentials: Credentials) -> Finder:
    if name == "openverse":
        return OpenverseFinder(settings.openverse, credentials.openverse)
    if name == "commons":
        return CommonsFinder(settings.commons)
    if name == "bing":
        return BingFinder(settings.bing)
    if name == "google":
        return GoogleFinder(settings.google)
    if name == "flickr" and not credentials.flickr:
        raise ConfigError("flickr wants an API key; put yours into CURATE_FLICKR_KEY (docs/sources.md says how)")
    if name == "flickr":
        return FlickrFinder(settings.flickr, credentials.flickr)
    raise ConfigError(f"no source {name!r}; there is: {', '.join(ENGINES)}, site=URL, urls=FILE, folder=DIR")


def searches(name: str) -> bool:
    """Whether a source is asked queries, or gives what it has once."""
    return "=" not in name


def _there(path: Path, what: str) -> Path:
    if not (path.is_dir() if what == "folder" else path.is_file()):
        raise ConfigError(f"no {what} {path}")
    return path
