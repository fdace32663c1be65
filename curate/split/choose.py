"""Which labelled images of one class are learned from and which are held out: a choice without a database.

It depends on nothing but the seed, the images' hashes and sources, and where the images stood before.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from curate.config import DatasetSettings
from db.models import Side


@dataclass(frozen=True, slots=True)
class ClassSplit:
    """Images of one class: in the snapshot, left over beyond the target, and lacking."""

    train: int
    validation: int
    reserve: int
    missing: int


@dataclass(slots=True)
class Keeper:
    """A labelled keeper, as far as splitting asks."""

    image_id: int
    hashes: list[str] = field(default_factory=list)
    """SHA-256 of every image of its group."""
    source: str = ""
    """Who showed it first."""
    held_out: bool = False
    """An image of its group was validated on in some snapshot, in whatever class."""
    stood: Side | None = None
    """Where its group is in the latest snapshot, if it is there under this class."""

    def position(self, seed: int) -> str:
        """Place in a fixed order that looks random. The least over its copies, so that joining groups moves little."""
        return min(hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest() for sha256 in self.hashes)


def split_class(keepers: Sequence[Keeper], settings: DatasetSettings) -> tuple[list[Keeper], list[Keeper], ClassSplit]:
    """Choose train and validation among the keepers of one class; a short class gives the same proportion of each.

    Of each source both sides together take a share in proportion to its labelled images, and so does validation.
    """
    taken = min(len(keepers), settings.target)
    wanted = round(taken * settings.validation / settings.target)
    wanted = min(max(wanted, 1), taken - 1) if taken > 1 else 0
    ordered = sorted(keepers, key=lambda keeper: keeper.position(settings.seed))
    held_out = [keeper for keeper in ordered if keeper.held_out]
    rest = [keeper for keeper in ordered if not keeper.held_out]
    # What was held out cannot be learned from: to validate on more of it than the proportion asks costs nothing, and
    # nothing has to leave when a short class becomes shorter.
    wanted = max(wanted, min(len(held_out), settings.validation))
    shares = Counter(keeper.source for keeper in keepers)
    validation: list[Keeper] = []
    _fill(validation, [keeper for keeper in held_out if keeper.stood is Side.VALIDATION], wanted, shares)
    _fill(validation, [keeper for keeper in held_out if keeper.stood is not Side.VALIDATION], wanted, shares)
    _fill(validation, sorted(rest, key=lambda keeper: keeper.stood is Side.TRAIN), wanted, shares)
    held = {keeper.image_id for keeper in validation}
    free = [keeper for keeper in rest if keeper.image_id not in held]
    used = [*validation]
    _fill(used, sorted(free, key=lambda keeper: keeper.stood is not Side.TRAIN), taken, shares)
    train = used[len(validation) :]
    counts = ClassSplit(len(train), len(validation), len(keepers) - len(used), settings.target - len(used))
    return train, validation, counts


def _fill(chosen: list[Keeper], waiting: Iterable[Keeper], total: int, shares: Mapping[str, int]) -> None:
    """Choose more, up to `total`, each time the first waiting from the source that is furthest below its share.

    Where nothing is chosen yet these are the method of largest remainders' numbers. That method alone is not stable: a
    source's share may fall by one when images are added, of its own even (the Alabama paradox). Rounding cannot
    take out an image that is validated on, because shares are not asked of those that are chosen already; they only
    say where the next one comes from. Where train begins anew, a share that falls moves one image of that source.
    """
    queues: dict[str, deque[Keeper]] = {source: deque() for source in sorted(shares)}
    for keeper in waiting:
        queues[keeper.source].append(keeper)
    have = Counter(keeper.source for keeper in chosen)
    labelled = sum(shares.values())
    while len(chosen) < total:
        open_sources = [source for source, queue in queues.items() if queue]
        if not open_sources:
            return
        # Both sides multiplied by `labelled`: whole numbers compare exactly.
        source = max(open_sources, key=lambda s: total * shares[s] - have[s] * labelled)
        chosen.append(queues[source].popleft())
        have[source] += 1
