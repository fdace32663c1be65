"""Everything a run is told: where it starts, how long it goes on, and the recipe it follows."""

from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.recipes import FAST, Recipe


@dataclass(frozen=True)
class TrainOptions:
    """One run."""

    arch: str
    init: str
    """`imagenet`, `none`, or the path of a safetensors file."""
    size: int
    """Pixels of the side that the network sees."""
    epochs: int
    """At most so many; where the recipe validates every so many batches, these count as an epoch."""
    seed: int
    device: str
    """`auto`, or what torch calls it."""
    teacher: str | None = None
    """A finished run whose answers are learned in place of the labels: its folder, beside the run's own or absolute."""
    compile: bool | None = None
    """Whether `torch.compile` is used; None: it is not."""
    recipe: Recipe = field(default=FAST)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainOptions":
        """Undo `as_dict`."""
        return cls(**{**values, "recipe": Recipe(**values["recipe"])})
