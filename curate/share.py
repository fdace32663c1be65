"""A share of what was counted, and how sure it is."""

from dataclasses import dataclass
from typing import NamedTuple

from trainer.intervals import wilson


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, with Wilson's 95 % interval."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies, 95 times in 100."""
        return wilson(self.hits, self.of)

    def as_dict(self) -> dict[str, float | None]:
        """All of it, as JSON has it."""
        low, high = self.interval
        return {"hits": self.hits, "of": self.of, "value": self.value, "low": low, "high": high}


class Difference(NamedTuple):
    """How much larger one share is than another, with its 95 % interval."""

    value: float
    low: float
    high: float


def difference(one: Share, other: Share) -> Difference | None:
    """Compare two shares, with Newcombe's interval (1998, method 10); None where one is of nothing."""
    if one.value is None or other.value is None:
        return None
    (low, high), (other_low, other_high) = one.interval, other.interval
    gap = one.value - other.value
    below = ((one.value - low) ** 2 + (other_high - other.value) ** 2) ** 0.5
    above = ((high - one.value) ** 2 + (other.value - other_low) ** 2) ** 0.5
    return Difference(gap, gap - below, gap + above)
