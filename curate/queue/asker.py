"""A strategy asked about some of the images that wait: they become rows of numbers, and its rows images again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from curate import strategies
from curate.project import Project
from curate.queue import embeddings
from curate.queue.embeddings import Embedded
from curate.queue.state import Beside, State, Waiting
from curate.strategies import uniform
from curate.strategies.interface import AWAITED, UNLABELLED, Pool, Strategy

_IN_ORDER = Strategy(lambda pool, count, _: pool.unlabelled[:count], uniform.because)
"""As they stand, which is at random: what comes later does not change what came before."""
_ENOUGH = 0.5
"""Share of the images that must have been seen for a strategy to choose among these alone."""


@dataclass(frozen=True)
class Asker:
    """A strategy, and all that it is told. Every time it begins with the same seed."""

    strategy: Strategy
    state: State
    embedded: Embedded
    seed: int

    def knows(self, image: Waiting) -> bool:
        """Whether the strategy can be asked about an image."""
        return not self.strategy.embedded or image.sha256 in self.embedded

    def choose(
        self, images: Sequence[Waiting], count: int, beside: Callable[[Beside], bool] = lambda _: True
    ) -> list[tuple[Waiting, str]]:
        """Choose so many of `images`, or fewer, with the reason, beside those images with a label that are told of.

        Images that nothing was seen of are left out, unless they are most: then all come in the order in which they
        stand.
        """
        seen = [image for image in images if self.knows(image)]
        by = self
        if len(seen) < _ENOUGH * len(images) or not (self.strategy.embedded or all(image.said for image in images)):
            by, seen = replace(self, strategy=_IN_ORDER), list(images)
        count = min(count, len(seen))
        if not count:
            return []
        others = [one for one in self.state.beside if beside(one)]
        pool = by.pool(seen, others)
        rows = by.strategy.choose(pool, count, np.random.default_rng(self.seed))
        reasons = by.strategy.because(pool, rows)
        return [(seen[row - len(others)], reason) for row, reason in zip(rows.tolist(), reasons, strict=True)]

    def pool(self, images: Sequence[Waiting], beside: Sequence[Beside]) -> Pool:
        """Make the rows: first of what is beside, then of the images."""
        classes = {name: number for number, name in enumerate(self.state.missing)}
        labels = [classes[one.name] if one.labelled and one.name else AWAITED for one in beside]
        return Pool(
            self.embedded.of([*(one.sha256 for one in beside), *(image.sha256 for image in images)]),
            np.array([*labels, *([UNLABELLED] * len(images))], dtype=np.int64),
            _probabilities(images, len(beside), len(classes)),
            np.array(list(self.state.missing.values()), dtype=np.int64),
        )


def _probabilities(images: Sequence[Waiting], beside: int, classes: int) -> NDArray[np.float64] | None:
    """What the best run says of the images; of what is beside nobody looks at it."""
    if not all(image.said for image in images):
        return None
    found = np.full((beside + len(images), classes), 1 / classes)
    found[beside:] = [image.said for image in images]
    return found


def asker(project: Project, session: Session, state: State, name: str, say: Callable[[str], None]) -> Asker | None:
    """Give what asks the strategy called `name`; None for random, which asks nothing.

    Where nothing was seen of the images, and the strategy goes by that, another is taken in its place, and it is said.
    """
    strategy = strategies.named(name)
    if name == strategies.RANDOM:
        return None
    embedded = Embedded()
    if strategy.embedded:
        embedded = embeddings.of_search(session) if state.run is None else embeddings.of_run(project, state.run)
    seed = project.settings.dataset.seed
    predicted = [image for image in state.waiting if image.said]
    seen = sum(image.sha256 in embedded for image in predicted)
    if strategy.embedded and predicted and seen < _ENOUGH * len(predicted) and state.run is not None:
        say(f"what run {state.run.name} saw in the images is not kept: chosen by margin, not by {name}")
        strategy = strategies.named("margin")
    return Asker(strategy, state, embedded, seed)
