"""The order of the queue: what a strategy chooses, and beside it what no strategy may lose sight of.

Images whose copies have different labels come first. Of the rest of a batch the control arm has its share, images that
seem to be of no class a tenth, and those of which the best run has said nothing yet what they are of all. What is taken
for a class that has all its labels waits for the end. Beyond the first thousand no strategy is asked: by the time they
are labelled there is another model, and the least sure come first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.queue.asker import Asker
from curate.queue.state import Beside, State, Waiting
from curate.queue.words import ASIDE, CONFLICT, DRAWN, belief, guess

FIRST = 1000
_ASIDE_SHARE = 10
"""One in so many of a batch: one in twenty that the model knows well seems to it to be of no class."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image in its place, with the reason; drawn for the control arm or not."""

    image: Waiting
    why: str
    control: bool = False


@dataclass(frozen=True)
class Arranger:
    """Arranges what waits. `asker` is None where images come as they are drawn: at random."""

    state: State
    asker: Asker | None
    control: float
    """Share of a batch that is drawn at random."""
    target: int

    def arrange(self, count: int) -> list[Chosen]:
        """Give up to `count` images, in the order in which they should be labelled."""
        conflicts = [Chosen(image, CONFLICT) for image in self.state.waiting if image.conflict][:count]
        free = [image for image in self.state.waiting if not image.conflict]
        batch = self._batch(free, min(FIRST, count - len(conflicts), len(free)))
        taken = {one.image.id for one in batch}
        rest = [image for image in free if image.id not in taken]
        return [*conflicts, *batch, *self._rest(rest, count - len(conflicts) - len(batch))]

    def _batch(self, free: Sequence[Waiting], count: int) -> list[Chosen]:
        drawn = [image for image in free if image.control]
        drawn = drawn[: max(1, round(count * self.control))] if drawn else []
        control = [Chosen(image, self._because(DRAWN, image), control=True) for image in drawn[:count]]
        left = count - len(control)
        others = [image for image in free if not image.control]
        if self.asker is None:
            return _mixed(control, [Chosen(image, self._because(DRAWN, image)) for image in others[:left]])
        outside = [image for image in others if image.outside]
        aside = [Chosen(image, self._because(ASIDE, image)) for image in self._few(self.asker, outside, left)]
        inside = [image for image in others if not image.outside]
        return _mixed(control, aside, *self._inside(self.asker, inside, left - len(aside)))

    def _few(self, asker: Asker, outside: Sequence[Waiting], count: int) -> list[Waiting]:
        return [image for image, _ in asker.choose(outside, count // _ASIDE_SHARE)]

    def _inside(self, asker: Asker, images: Sequence[Waiting], count: int) -> tuple[list[Chosen], list[Chosen]]:
        """Let the strategy choose among what is predicted, and class by class among what is not."""
        known = [image for image in images if image.said and asker.knows(image)]
        there = {image.id for image in known}
        unknown = [image for image in images if image.id not in there]
        places = round(count * len(unknown) / len(images)) if images else 0
        chosen: list[tuple[Waiting, str]] = []
        for part in self._wanted_and_rest(known):
            chosen += asker.choose(part, count - places - len(chosen))
        begun = self._by_class(asker, unknown, places)
        return self._told(chosen), self._told(begun)

    def _wanted_and_rest(self, images: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
        """Part images that may be of a class that lacks labels from those taken for one that lacks none."""
        wanted = [image for image in images if self._wanted(image)]
        return wanted, [image for image in images if not self._wanted(image)]

    def _wanted(self, image: Waiting) -> bool:
        name = guess(image, self.state.missing)
        return name is None or self.state.missing[name] > 0

    def _by_class(self, asker: Asker, images: Sequence[Waiting], count: int) -> list[tuple[Waiting, str]]:
        """Fill places class by class in proportion to what each lacks; what was collected for none has its share."""
        by_guess: dict[str | None, list[Waiting]] = defaultdict(list)
        for image in images:
            by_guess[guess(image, self.state.missing)].append(image)
        nobodys = by_guess.pop(None, [])
        found = asker.choose(nobodys, round(count * len(nobodys) / len(images)) if images else 0)
        lacking = {name: self.state.missing[name] for name in self.state.missing if name in by_guess}
        for name, places in _shares(lacking, count - len(found)).items():
            found += asker.choose(by_guess[name], places, _is_of(name))
        taken = {image.id for image, _ in found}
        for part in self._wanted_and_rest([image for image in images if image.id not in taken]):
            found += asker.choose(part, count - len(found))
        return found

    def _rest(self, images: Sequence[Waiting], count: int) -> list[Chosen]:
        """Order what no strategy was asked about: the least sure first; then what nobody should wait for."""

        def place(image: Waiting) -> tuple[bool, bool, float, str]:
            sure = max(image.said, default=0.0)
            return (image.outside, not self._wanted(image), sure, image.sha256)

        ordered = sorted(images, key=place) if self.asker is not None else images
        return [
            Chosen(image, self._because(ASIDE if image.outside else "", image), control=image.control)
            for image in ordered[:count]
        ]

    def _told(self, chosen: Iterable[tuple[Waiting, str]]) -> list[Chosen]:
        return [Chosen(image, self._because(reason, image)) for image, reason in chosen]

    def _because(self, reason: str, image: Waiting) -> str:
        told = belief(image, self.state.missing, self.target)
        return f"{reason}; {told}" if reason else told


def _mixed(*parts: Sequence[Chosen]) -> list[Chosen]:
    """Spread all parts evenly over the batch: whoever labels half of it has labelled half of each."""
    placed = [((number + 0.5) / len(part), one) for part in parts for number, one in enumerate(part)]
    return [one for _, one in sorted(placed, key=lambda pair: pair[0])]


def _shares(lacking: Mapping[str, int], count: int) -> dict[str, int]:
    """Part so many places among classes in proportion to what they lack; what does not come out even is left."""
    total = sum(lacking.values())
    return {name: count * lack // total if total else 0 for name, lack in lacking.items()}


def _is_of(name: str) -> Callable[[Beside], bool]:
    return lambda one: one.name == name
