"""`curate.toml`: what a dataset is made of, read once and checked whole."""

import difflib
import tomllib
import unicodedata
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from curate.crawl.settings import CrawlSettings
from curate.dedup.settings import DedupSettings
from curate.people.settings import LabellingSettings
from curate.quality.settings import QualitySettings
from curate.queue.settings import QueueSettings
from curate.section import Section, WebAddress
from db.answers import Other
from db.errors import ConfigError

FILE_NAME = "curate.toml"
_LONGEST_NAME = 60
_MOST_IMAGES = 2**31 - 1
"""Of a class: what a column of whole numbers holds in every database."""
MOST_SEED = 4 * 10**12
"""Each epoch draws from a number two million times as large, of which torch takes 64 bits."""
HOTKEYS = "1234567890qwetasdfgzcvbyiopjkl"
"""Keys that classes without one of their own get, in this order: all but those that Label Studio uses itself, and n, m
and x, which are for the answers beside the classes."""


def class_name(name: str) -> str:
    """Bring a class name to its one form: NFC, no space around it. Raises ValueError for what no file system takes."""
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise ValueError(f"a class name has 1 to {_LONGEST_NAME} characters")
    if class_key(name) in {class_key(other.caption) for other in Other}:
        raise ValueError(f"{name!r} is an answer that the labelling page has beside the classes; choose another name")
    if any(unicodedata.category(c) in {"Cc", "Cs"} or c in "/\\" for c in name) or name.startswith("."):
        raise ValueError(f"the class name {name!r} may hold no '/', no '\\', no control character, and no leading dot")
    return name


def class_key(name: str) -> str:
    """What two class names must not share."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def _sqlite_url(url: str) -> str:
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise ValueError(f"{url!r} is not of the form sqlite:///FILE")
    return url


ClassName = Annotated[str, AfterValidator(class_name)]


class DatasetSettings(Section):
    """What is to be reached."""

    name: str = Field(default="dataset", min_length=1)
    target: int = Field(default=250, ge=2, le=_MOST_IMAGES)
    """Labelled images a class."""
    validation: int = Field(default=50, ge=1)
    """Of these, how many are held out."""
    seed: int = Field(default=2017, ge=0, le=MOST_SEED)

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> "DatasetSettings":
        if self.validation >= self.target:
            raise ValueError(f"validation ({self.validation}) must be less than target ({self.target})")
        return self


class ClassSettings(Section):
    """One class. Without queries of its own, its name is searched for."""

    name: ClassName
    hotkey: str | None = Field(default=None, min_length=1, max_length=20)
    queries: tuple[str, ...] = ()
    example: int | None = Field(default=None, ge=1)
    """Id of the image that the labelling page shows beside the name; else the first that was labelled so."""


class DatabaseSettings(Section):
    """Where the database lies; a relative path starts at the project folder."""

    url: Annotated[str, AfterValidator(_sqlite_url)] = "sqlite:///curate.db"


class IngestSettings(Section):
    """What an image must be like to be taken in at all."""

    max_pixels: int = Field(default=50_000_000, ge=1, le=178_956_970)
    """Decoded, three bytes a pixel are held in memory. Pillow opens nothing larger than the largest value."""
    min_side: int = Field(default=16, ge=1)
    """Pixels of the shorter side."""
    max_bytes: int = Field(default=32_000_000, ge=1)
    """Of the file; reading stops there."""


class LabelStudioSettings(Section):
    """Where people label."""

    url: WebAddress = "http://127.0.0.1:8080"


class TrainSettings(Section):
    """Defaults of `curate train`. What is None the recipe says, or else what its option's help does."""

    recipe: str = "fast"
    """`fast`, `article`, `scratch`, `noise`, or a TOML file copied from one of them."""
    arch: str = "resnet50"
    init: str | None = None
    """`imagenet`, `none`, or a safetensors file."""
    size: int = Field(default=224, ge=32, le=1024)
    epochs: int | None = Field(default=None, ge=1)
    device: str = "auto"


class Settings(Section):
    """All of `curate.toml`."""

    dataset: DatasetSettings = DatasetSettings()
    classes: tuple[ClassSettings, ...] = Field(min_length=2)
    database: DatabaseSettings = DatabaseSettings()
    ingest: IngestSettings = IngestSettings()
    quality: QualitySettings = QualitySettings()
    crawl: CrawlSettings = CrawlSettings()
    dedup: DedupSettings = DedupSettings()
    label_studio: LabelStudioSettings = LabelStudioSettings()
    labelling: LabellingSettings = LabellingSettings()
    queue: QueueSettings = QueueSettings()
    train: TrainSettings = TrainSettings()

    @model_validator(mode="after")
    def _classes_apart(self) -> "Settings":
        for what, values in (
            ("class names", [class_key(c.name) for c in self.classes]),
            ("hotkeys", [c.hotkey.casefold() for c in self.classes if c.hotkey]),
        ):
            double = sorted({v for v in values if values.count(v) > 1})
            if double:
                raise ValueError(f"two {what} are the same (upper and lower case do not count): {', '.join(double)}")
        return self

    def hotkeys(self) -> dict[str, str]:
        """The key of each class: its own, or the next one free; classes beyond the keyboard get none."""
        taken = {c.hotkey.casefold() for c in self.classes if c.hotkey}  # Label Studio takes Q for q
        free = [key for key in HOTKEYS if key not in taken]
        given = {c.name: c.hotkey for c in self.classes if c.hotkey}
        rest = [c.name for c in self.classes if not c.hotkey]
        return given | dict(zip(rest, free, strict=False))

    def queries(self, name: str) -> tuple[str, ...]:
        """What is searched for on behalf of a class."""
        found = next(c for c in self.classes if c.name == name)
        return found.queries or (found.name,)


def load(path: Path) -> Settings:
    """Read and check a `curate.toml`. Raises ConfigError naming the file, the key and what is wrong."""
    return check(parse(read(path), path), path)


def read(path: Path) -> str:
    """Text of a `curate.toml`. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Values in the text of the `curate.toml` at `path`. Raises ConfigError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def check(values: dict[str, Any], path: Path) -> Settings:
    """Check parsed values. Raises ConfigError for the first thing wrong."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # Where one class of two is wrong, pydantic also complains that there are fewer than two.
        wrong = [one for one in error.errors() if one["loc"] != ("classes",) or len(error.errors()) == 1]
        first = wrong[0]
        key = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        message = _unknown_key(key) if first["type"] == "extra_forbidden" else _plain(key, first["msg"])
        raise ConfigError(f"{path}: {message}{more}") from error


def _plain(key: str, message: str) -> str:
    message = message.removeprefix("Value error, ")
    if "a valid dictionary" in message or (key == "classes" and "a valid tuple" in message):
        message = f"this is a section: write [{key}], and its keys below"
        if key.partition(".")[0] == "classes":
            message = 'each class is a section of its own: write [[classes]], and name = "…" below'
    if key == "classes" and "at least 2 items" in message:
        message = "a dataset has two classes at least"
    message = message.replace("a valid tuple", 'a list, such as ["a", "b"]')
    return f"{key}: {message}" if key else message


def _unknown_key(key: str) -> str:
    near = difflib.get_close_matches(key, known_keys(), n=1)
    return f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def known_keys(section: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every dotted key that `curate config` can show or set, in order."""
    found: list[str] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += known_keys(kind, f"{prefix}{name}.")
        elif name != "classes":
            found.append(prefix + name)
    return found


def value(settings: Settings, key: str) -> Any:  # noqa: ANN401 - whatever the key holds
    """Look up the value of a dotted key. Raises ConfigError for an unknown one."""
    if key not in known_keys():
        raise ConfigError(_unknown_key(key))
    found: Any = settings
    for part in key.split("."):
        found = getattr(found, part)
    return list(found) if isinstance(found, tuple) else found
