"""What the settings of every stage are made of."""

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A section of `curate.toml`: no key that is not known, and no change once it is read."""

    # Infinity is no JSON: what cannot be shown must not be set.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _port_can_be(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:  # no number, or past 65535
        return False


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    plain = parts.hostname and _port_can_be(parts) and not re.search(r"\s", url)
    if parts.scheme not in {"http", "https"} or not plain or "@" in parts.netloc:
        raise ValueError(f"{url!r} is no http(s) address")
    return url.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]
