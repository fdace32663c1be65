"""What labelling needs of a dataset."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from db.engine import Database
from db.store import ImageStore
from labeler.config import labelling_config


@dataclass(frozen=True)
class Dataset:
    """One project's images and classes."""

    title: str
    root: Path
    """The project folder; images lie below it."""
    database: Database
    store: ImageStore
    classes: Mapping[str, int]
    """Ids of the classes by name, in order."""
    hotkeys: Mapping[str, str]
    examples: Callable[[], Mapping[str, str]] = dict
    """Gives a small picture for each class that has one, as a `data:` address: drawn when the page is wanted."""
    forgotten: bool = False
    """Whether an image was forgotten that may have been such an example."""
    overlap: int = 1
    """How many people label an image that is to have several answers."""
    overlap_share: float = 1.0
    """Share of the images that are to have so many."""

    former: Mapping[str, int] = field(default_factory=dict)
    """Ids of former classes by their names, case-folded: merged, removed, or what a class was called once."""
    fates: Mapping[int, int | None] = field(default_factory=dict)
    """The present class that each of these counts as; None for one that was removed."""

    def class_id(self, said: str) -> int | None:
        """Give the class that an answer names, in any case: its spelling may have been changed since.

        That may be a former one: an answer keeps what it said, and `db.labels` knows what it counts as.
        """
        return self._by_key.get(said.casefold())

    def name_now(self, said: str) -> str | None:
        """Give the present class that a name counts as, if it is any."""
        class_id = self.class_id(said)
        now = self.fates.get(class_id, class_id) if class_id is not None else None
        return next((name for name, number in self.classes.items() if number == now), None)

    @cached_property
    def _by_key(self) -> dict[str, int]:
        return {**self.former, **{name.casefold(): class_id for name, class_id in self.classes.items()}}

    @cached_property
    def config(self) -> str:
        """The labelling page."""
        return labelling_config(list(self.classes), self.hotkeys, self.drawn)

    @cached_property
    def drawn(self) -> Mapping[str, str]:
        """The examples, drawn once."""
        return self.examples()

    @property
    def config_sha256(self) -> str:
        """Hash of the labelling page, to know when it changed."""
        return hashlib.sha256(self.config.encode()).hexdigest()
