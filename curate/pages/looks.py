"""Where a run looks, laid over small pictures for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from curate import runs
from curate.config import class_key
from curate.heat import DIFFERENCE, overlaid
from curate.pages.thumbnails import image_address
from curate.progress import QUIET, Progress
from curate.project import Project
from trainer.cache import squeeze
from trainer.errors import WeightsError
from trainer.explain import explain
from trainer.predict import Predictor


@dataclass(frozen=True, slots=True)
class Look:
    """A picture under what tells one class from another (Finer-CAM), as an address, and what that says in words."""

    address: str
    words: str


@dataclass(frozen=True)
class Looks:
    """Draws them; without a run, or with one whose network has no map, none."""

    predictor: Predictor | None
    names: Sequence[str] = ()
    """Of its classes, in its order, as they are called now."""

    @classmethod
    def by(cls, project: Project, run: str | None, progress: Progress = QUIET) -> Self:
        """Draw by a finished run of the project's; where its files are gone, that is said and nothing is drawn."""
        if run is None:
            return cls(None)
        try:
            predictor = Predictor.load(project.runs / run, backend="torch")
        except WeightsError as error:
            progress.say(f"{error}: the page does not show where it looks")
            return cls(None)
        with project.database.read() as session:
            now = runs.names_now(session, runs.choose(session, run, []))
        return cls(predictor, [name or old for name, old in zip(now, predictor.classes, strict=True)])

    def over(self, pictures: Sequence[tuple[Image.Image, str, str]]) -> list[Look | None]:
        """Draw over small pictures, each with its label and what it is taken for, where the run knows both classes."""
        if self.predictor is None:
            return [None] * len(pictures)
        names = [class_key(name) for name in self.names]
        found: list[Look | None] = [None] * len(pictures)
        rows = [n for n, (_, *both) in enumerate(pictures) if all(class_key(name) in names for name in both)]
        if not rows:
            return found
        squares = np.stack([squeeze(pictures[row][0], self.predictor.side) for row in rows])
        labels = [names.index(class_key(pictures[row][1])) for row in rows]
        suggested = [names.index(class_key(pictures[row][2])) for row in rows]
        try:
            explained = explain(self.predictor, squares, labels, suggested)
        except WeightsError:
            return found
        for row, one in zip(rows, explained, strict=True):
            tinted = overlaid(pictures[row][0], one.difference, DIFFERENCE)
            taken, other = self.names[one.towards], self.names[one.against]
            picture = Image.fromarray(np.asarray(tinted * 255).round().astype(np.uint8))
            found[row] = Look(image_address(picture), f"blue: speaks for {taken}, and not for {other}")
        return found
