"""A share of what was counted, and how sure it is."""

from dataclasses import dataclass

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
