"""What the settings of every stage are made of."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A section of `curate.toml`: no key that is not known, and no change once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{url!r} is no http(s) address")
    return url.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]
