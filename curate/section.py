"""What the settings of every stage are made of."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A section of `curate.toml`: no key that is not known, and no change once it is read."""

    # Infinity is no JSON: what cannot be shown must not be set.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{url!r} is no http(s) address")
    return url.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]
