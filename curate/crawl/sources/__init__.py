"""The sources there are. A new one is one new file, and one line here."""

from pathlib import Path

from curate.config import Settings
from curate.crawl.interface import Finder
from curate.crawl.sources.folder import FolderFinder
from curate.crawl.sources.openverse import OpenverseFinder
from curate.crawl.sources.site import SiteFinder
from curate.crawl.sources.urls import UrlsFinder
from db.errors import ConfigError


def make(name: str, settings: Settings) -> Finder:
    """Make the source that `--source` names: `openverse`, `site=URL`, `urls=FILE` or `folder=DIR`.

    Raises ConfigError for one that is not there, and for a file or folder that is not.
    """
    kind, equals, value = name.partition("=")
    if name == "openverse":
        return OpenverseFinder(settings.crawl.openverse)
    if equals and value and kind == "site":
        return SiteFinder(value, settings.crawl.site)
    if equals and value and kind == "urls":
        return UrlsFinder(_there(Path(value), "file"))
    if equals and value and kind == "folder":
        return FolderFinder(_there(Path(value), "folder"))
    raise ConfigError(f"no source {name!r}; there is: openverse, site=URL, urls=FILE, folder=DIR")


def searches(name: str) -> bool:
    """Whether a source is asked queries, or gives what it has once."""
    return "=" not in name


def _there(path: Path, what: str) -> Path:
    if not (path.is_dir() if what == "folder" else path.is_file()):
        raise ConfigError(f"no {what} {path}")
    return path
