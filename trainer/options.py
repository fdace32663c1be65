"""Everything a run is told: where it starts, how long it goes on, and the recipe it follows."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How the weights are moved and the pictures varied. Every length is a share of the picture's side.

    The learning rates are for a batch of 32 and scale with its size.
    """

    name: str
    batch_size: int
    learning_rate: float
    """Of the features, when they start from known weights."""
    head_learning_rate: float
    """Of the new last layer, and of everything when nothing is known."""
    weight_decay: float
    warm_up: float
    """Share of all steps over which the rate rises; it falls along half a cosine after that."""
    label_smoothing: float
    ema_decay: float
    """Of the running mean of the weights that is validated and kept."""
    rotation: float
    """Degrees, either way."""
    shift: float
    zoom: float
    """Share by which a picture may grow or shrink."""
    stretch: float
    """Share by which height and width may differ."""
    mirror: bool
    flip: bool
    """Upside down."""
    brightness: float
    contrast: float
    saturation: float
    patience: int
    """Epochs without a better validation after which a run stops early."""


FAST = Recipe(
    name="fast",
    batch_size=32,
    learning_rate=6e-4,
    head_learning_rate=3e-3,
    weight_decay=0.02,
    warm_up=0.1,
    label_smoothing=0.1,
    ema_decay=0.98,
    rotation=15.0,
    shift=0.08,
    zoom=0.15,
    stretch=0.1,
    mirror=True,
    flip=False,
    brightness=0.2,
    contrast=0.2,
    saturation=0.3,
    patience=10,
)


@dataclass(frozen=True)
class TrainOptions:
    """One run."""

    arch: str
    init: str
    """`imagenet`, `none`, or the path of a safetensors file."""
    size: int
    """Pixels of the side that the network sees."""
    epochs: int
    seed: int
    device: str
    """`auto`, or what torch calls it."""
    recipe: Recipe = field(default=FAST)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainOptions":
        """Undo `as_dict`."""
        return cls(**{**values, "recipe": Recipe(**values["recipe"])})
