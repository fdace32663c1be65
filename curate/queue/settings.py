"""`[queue]` of `curate.toml`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from curate.section import Section
from curate.strategies import checked


class QueueSettings(Section):
    """Which images people are asked for first."""

    strategy: Annotated[str, AfterValidator(checked)] = "auto"
    """`auto`, or one of the others that `curate simulate` compares."""
    control: float = Field(default=0.0, ge=0, le=0.5)
    """Share of every batch that is drawn at random from images kept for it, to tell what the strategy brings."""
