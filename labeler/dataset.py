"""What labelling needs of a dataset."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    overlap: int = 1
    """How many people label an image that is to have several answers."""
    overlap_share: float = 1.0
    """Share of the images that are to have so many."""

    def class_id(self, said: str) -> int | None:
        """Give the class that an answer names, in any case: its spelling may have been changed since."""
        return self._by_key.get(said.casefold())

    @cached_property
    def _by_key(self) -> dict[str, int]:
        return {name.casefold(): class_id for name, class_id in self.classes.items()}

    @cached_property
    def config(self) -> str:
        """The labelling page."""
        return labelling_config(list(self.classes), self.hotkeys, self.examples())

    @property
    def config_sha256(self) -> str:
        """Hash of the labelling page, to know when it changed."""
        return hashlib.sha256(self.config.encode()).hexdigest()
