"""`[crawl]` of `curate.toml`."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from curate.section import Section, WebAddress


class OpenverseSettings(Section):
    """The Openverse API. Credentials, which raise its limits, come from the environment."""

    url: WebAddress = "https://api.openverse.org"


class CommonsSettings(Section):
    """Wikimedia Commons."""

    url: WebAddress = "https://commons.wikimedia.org/w/api.php"
    width: Literal[0, 330, 500, 960, 1280, 1920, 3840] = 1280
    """Pixels to which larger pictures are scaled by the server, which has these widths ready; 0 takes the original."""


class _EngineSettings(Section):
    """A search engine that is read page by page, as a browser would. Opt-in: name it in crawl.sources."""

    ignore_robots: bool = False
    """Ask for its result pages though its robots.txt forbids them. Your decision; image files are never asked so."""


class BingSettings(_EngineSettings):
    """Bing's image search."""

    url: WebAddress = "https://www.bing.com"


class GoogleSettings(_EngineSettings):
    """Google's image search."""

    url: WebAddress = "https://www.google.com"


class FlickrSettings(Section):
    """Flickr's API. Its key comes from the environment."""

    url: WebAddress = "https://api.flickr.com/services/rest/"


class SiteSettings(Section):
    """How far a crawl of a whole site goes."""

    max_pages: int = Field(default=500, ge=1)
    max_depth: int = Field(default=4, ge=0)


def _contact(given: str) -> str:
    if not re.fullmatch(r"[\x20-\x27\x2a-\x7e]*", given):
        raise ValueError(f"{given!r} cannot go into a User-Agent: plain ASCII without brackets can, as an address is")
    return given


class CrawlSettings(Section):
    """How the web is asked."""

    sources: tuple[Literal["openverse", "commons", "bing", "google", "flickr"], ...] = ("openverse", "commons")
    licence: Literal["any", "open", "commercial"] = "any"
    """Which licences are taken: any; those that are known to be free to use in some way; also for commercial ends."""
    contact: Annotated[str, AfterValidator(_contact)] = ""
    """Goes into the User-Agent, so that whoever runs a server can write to you. Plain ASCII, without brackets."""
    allow_private_addresses: bool = False
    concurrency: int = Field(default=16, ge=1, le=256)
    per_host: int = Field(default=2, ge=1, le=16)
    attempts: int = Field(default=3, ge=1, le=10)
    deadline_seconds: float = Field(default=60.0, gt=0)
    """For one file, redirects and waiting for bytes included."""
    max_wait_seconds: float = Field(default=120.0, ge=0)
    """The longest pause a server may ask for within a run; a host that asks for more is left until the next."""
    openverse: OpenverseSettings = OpenverseSettings()
    commons: CommonsSettings = CommonsSettings()
    bing: BingSettings = BingSettings()
    google: GoogleSettings = GoogleSettings()
    flickr: FlickrSettings = FlickrSettings()
    site: SiteSettings = SiteSettings()
