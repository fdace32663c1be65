"""Recipes: how weights are moved and pictures varied. Each is a small file beside this one, to be read and copied."""

import math
import tomllib
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from trainer.errors import RecipeError

_CHOICES = {"optimizer": ("adamw", "sgd"), "schedule": ("cosine", "time"), "head": ("dense", "flat")}

LARGEST_TEST = 8 / 7
"""Larger pictures are not decoded: 256 for 224."""
_FROM_ONE = ("batch_size", "patience", "epochs")
_SHARES = (
    "warm_up",
    "label_smoothing",
    "ema_decay",
    "brightness",
    "contrast",
    "saturation",
    "first_size",
    "last_size",
    "first_rate",
    "spoil",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that is tuned. Every length is a share of the picture's side.

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
    """Share of all steps over which the rate rises."""
    label_smoothing: float
    ema_decay: float
    """Of the running mean of the weights that is validated and kept; 0 keeps the weights themselves."""
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
    """Validations without a better one after which a run stops early."""
    optimizer: str = "adamw"
    """`adamw`, or `sgd` with Nesterov's momentum of 0.9."""
    schedule: str = "cosine"
    """After the warm-up the rate falls along half a `cosine`, or with `time`: by 1 / (1 + time_decay x steps)."""
    time_decay: float = 0.0
    head: str = "dense"
    """The network's own last layer, `dense`; or `flat`: one layer over its last feature map, without pooling."""
    validate_every: int = 0
    """Batches between two validations, which count as one epoch; 0 is once through all images."""
    mixup: float = 0.0
    """Alpha of the Beta distribution by which two pictures are laid over one another; 0 does not."""
    cutmix: float = 0.0
    """The same for a rectangle of one picture put into another; with both, each batch takes one or the other."""
    first_size: float = 1.0
    last_size: float = 1.0
    """Side of the pictures in the first and in the last epoch, as shares of the size that is validated at."""
    test_size: float = 1.0
    """Side of the pictures that a finished run answers for, as a share of the size, 1 to 8/7: things look larger in
    varied pictures than in those as they are (Touvron et al., NeurIPS 2019)."""
    first_rate: float = 1.0
    """Learning rate of the first layer, as a share of that of the last features; between them it rises by ratio."""
    teacher_temperature: float = 1.0
    """By which a teacher's outputs and the student's are divided: above 1, what it holds for unlikely counts too."""
    epochs: int | None = None
    """At most so many, where nothing else is asked for."""
    init: str | None = None
    """First weights, where nothing else is asked for."""
    spoil: float = 0.0
    """Share of the pictures that get a scribble, a filled shape or an erased patch."""

    def __post_init__(self) -> None:
        """Refuse words that mean nothing. Raises RecipeError."""
        for key, allowed in _CHOICES.items():
            if getattr(self, key) not in allowed:
                raise RecipeError(f"recipe {self.name}: {key} is {getattr(self, key)!r}, not {' or '.join(allowed)}")
        for field in fields(self):
            value = getattr(self, field.name)
            least = 1 if field.name in _FROM_ONE else 0
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= least):
                raise RecipeError(f"recipe {self.name}: {field.name} is {value}; it must be {least} or more")
            if field.name == "test_size" and not 1 <= value <= LARGEST_TEST:
                raise RecipeError(f"recipe {self.name}: test_size is {value}; it must be from 1 to {LARGEST_TEST:.3f}")
            if field.name in _SHARES and value > 1:
                raise RecipeError(f"recipe {self.name}: {field.name} is {value}; it is a share, 1 at most")


def names() -> list[str]:
    """Recipes that come with the trainer."""
    return sorted(Path(str(file)).stem for file in files(__name__).iterdir() if file.name.endswith(".toml"))


def load(given: str, folder: Path = Path()) -> Recipe:
    """Read a recipe by its name, or from a TOML file, relative to `folder`. Raises RecipeError."""
    if given in names():
        return _read(given, files(__name__).joinpath(f"{given}.toml").read_text(encoding="utf-8"))
    path = folder / given
    if path.suffix != ".toml":
        raise RecipeError(f"no recipe {given!r}; there are {', '.join(names())}, and files that end in .toml")
    try:
        return _read(path.stem, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error


def _read(name: str, text: str) -> Recipe:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {name} is no valid TOML: {error}") from error
    known = {field.name: field for field in fields(Recipe) if field.name != "name"}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise RecipeError(f"recipe {name}: unknown key {unknown[0]!r}; copy one of {', '.join(names())}")
    missing = [key for key, field in known.items() if field.default is MISSING and key not in values]
    if missing:
        raise RecipeError(f"recipe {name} lacks {', '.join(missing)}")
    kinds = get_type_hints(Recipe)
    return Recipe(name=name, **{key: _value(name, key, value, kinds[key]) for key, value in values.items()})


def _value(name: str, key: str, value: Any, kind: Any) -> Any:  # noqa: ANN401 - as TOML has it
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed = kind.__args__ if hasattr(kind, "__args__") else (kind,)
    if not any(type(value) is one for one in allowed):
        raise RecipeError(f"recipe {name}: {key} is {value!r}, and should be {allowed[0].__name__}")
    return value


FAST = load("fast")
