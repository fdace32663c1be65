"""The choice within a class: every source has its share, and what comes in moves little else."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.config import DatasetSettings
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import Keeper, split, split_class
from curate.split.folds import deal
from db.models import Side, Sighting
from tests.pictures import write_folder
from tests.test_split import sides

SOURCES = ("bing", "commons", "folder", "openverse")
numbers = st.lists(st.integers(0, 90), min_size=4, max_size=4)


def keepers(counts: dict[str, int], first: int = 0) -> list[Keeper]:
    """Labelled images, so many of each source."""
    sources = [source for source, count in counts.items() for _ in range(count)]
    return [Keeper(first + n, [f"{first + n:064x}"], source) for n, source in enumerate(sources)]


def after(keepers: list[Keeper], chosen: DatasetSettings) -> tuple[list[Keeper], list[Keeper]]:
    """Split, and note on the keepers where they stand now, as the next split will read it."""
    train, validation, _ = split_class(keepers, chosen)
    for keeper in keepers:
        keeper.stood = None
    for side, members in ((Side.TRAIN, train), (Side.VALIDATION, validation)):
        for keeper in members:
            keeper.stood = side
            keeper.held_out |= side is Side.VALIDATION
    return train, validation


@settings(max_examples=200, deadline=None)
@given(counts=numbers, target=st.integers(5, 250), share=st.floats(0.05, 0.5))
def test_every_source_has_its_share(counts: list[int], target: int, share: float) -> None:
    """Of each source validation, and the snapshot as a whole, take its part to the nearest whole numbers."""
    labelled = keepers(dict(zip(SOURCES, counts, strict=True)))
    chosen = DatasetSettings(target=target, validation=max(1, round(target * share)))
    train, validation, _ = split_class(labelled, chosen)
    held, both = (Counter(keeper.source for keeper in some) for some in (validation, train + validation))
    for source, count in zip(SOURCES, counts, strict=True):
        part = count / max(1, len(labelled))
        assert abs(held[source] - len(validation) * part) < 1
        # Two, not one: a source that was rounded up in validation is not rounded down to make up for it.
        assert abs(both[source] - len(train + validation) * part) < 2


def test_largest_remainders_decide() -> None:
    """Of 10 places 7.0, 1.6, 1.2 and 0.2 are due: the one left over goes to 1.6."""
    labelled = keepers({"a": 35, "b": 8, "c": 6, "d": 1})
    _, validation, _ = split_class(labelled, DatasetSettings(target=50, validation=10))
    assert Counter(keeper.source for keeper in validation) == {"a": 7, "b": 2, "c": 1}


@settings(max_examples=100, deadline=None)
@given(counts=numbers, more=numbers, target=st.integers(5, 250), share=st.floats(0.05, 0.5), shuffle=st.randoms())
def test_neither_ids_nor_their_order_matter(
    counts: list[int], more: list[int], target: int, share: float, shuffle: random.Random
) -> None:
    """The same images with the same past under other ids, in another order, are split alike."""
    chosen = DatasetSettings(target=target, validation=max(1, round(target * share)))
    labelled = keepers(dict(zip(SOURCES, counts, strict=True)))
    after(labelled, chosen)
    labelled += keepers(dict(zip(SOURCES, more, strict=True)), first=1000)
    again = [Keeper(5000 - k.image_id, k.hashes, k.source, k.held_out, k.stood) for k in labelled]
    shuffle.shuffle(again)
    for mine, other in zip(split_class(labelled, chosen)[:2], split_class(again, chosen)[:2], strict=True):
        assert {keeper.hashes[0] for keeper in mine} == {keeper.hashes[0] for keeper in other}


@settings(max_examples=150, deadline=None)
@given(rounds=st.lists(numbers, min_size=2, max_size=5), target=st.integers(2, 250), share=st.floats(0.02, 0.5))
def test_validation_loses_nothing_when_images_come_in(rounds: list[list[int]], target: int, share: float) -> None:
    """However many images come, of whatever sources: what is held out stays so."""
    chosen = DatasetSettings(target=target, validation=min(max(1, round(target * share)), target - 1))
    labelled: list[Keeper] = []
    held: set[int] = set()
    for number, counts in enumerate(rounds):
        labelled += keepers(dict(zip(SOURCES, counts, strict=True)), first=1000 * number)
        _, validation = after(labelled, chosen)
        now = {keeper.image_id for keeper in validation}
        assert held <= now
        held = now


@settings(max_examples=100, deadline=None)
@given(before=st.integers(1, 250), fewer=st.integers(0, 250), target=st.integers(2, 250), share=st.floats(0.02, 0.5))
def test_validation_loses_nothing_when_others_leave(before: int, fewer: int, target: int, share: float) -> None:
    """A class that becomes shorter keeps what it holds out: what was held out is no use to train on."""
    chosen = DatasetSettings(target=target, validation=min(max(1, round(target * share)), target - 1))
    labelled = keepers({"a": before})
    _, validation = after(labelled, chosen)
    remaining = [keeper for keeper in labelled if keeper.held_out] + [k for k in labelled if not k.held_out][:fewer]
    _, now = after(remaining, chosen)
    assert {keeper.image_id for keeper in validation} <= {keeper.image_id for keeper in now}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), sources=st.integers(1, 4))
def test_a_tenth_more_images_moves_a_few_at_most(seed: int, sources: int) -> None:
    """A full class stays as it was but for rounding, one image a source at most, when 10 % come in of the same mix."""
    chosen = DatasetSettings(target=250, validation=50, seed=seed)
    labelled = keepers(dict.fromkeys(SOURCES[:sources], 260 // sources))
    train, validation = after(labelled, chosen)
    labelled += keepers(dict.fromkeys(SOURCES[:sources], 26 // sources), first=1000)
    now, held = after(labelled, chosen)
    assert {keeper.image_id for keeper in validation} == {keeper.image_id for keeper in held}
    assert len({keeper.image_id for keeper in train} - {keeper.image_id for keeper in now}) <= sources - 1


def test_a_short_class_takes_newcomers_for_validation() -> None:
    """What was learned from stays in train while there are other images to hold out."""
    chosen = DatasetSettings(target=250, validation=50)
    labelled = keepers({"a": 100})
    train, _ = after(labelled, chosen)
    labelled += keepers({"a": 50}, first=1000)
    now, held = after(labelled, chosen)
    assert {keeper.image_id for keeper in train} <= {keeper.image_id for keeper in now}
    assert len(held) == 30


@settings(max_examples=100, deadline=None)
@given(counts=numbers, count=st.integers(2, 12), seed=st.integers(0, 99))
def test_folds_are_even(counts: list[int], count: int, seed: int) -> None:
    """Every image is in one fold; folds differ by one image at most, over all and of each source."""
    labelled = keepers(dict(zip(SOURCES, counts, strict=True)))
    dealt = deal(labelled, count, seed)
    assert sorted(keeper.image_id for keeper, _ in dealt) == [keeper.image_id for keeper in labelled]
    for source in (None, *SOURCES):
        sizes = Counter(dict.fromkeys(range(count), 0))
        sizes.update(fold for keeper, fold in dealt if source in {None, keeper.source})
        assert set(sizes) == set(range(count))
        assert max(sizes.values()) - min(sizes.values()) <= 1


def test_a_tenth_more_images_leaves_most_in_their_folds() -> None:
    """Nine in ten stay, on the average of 20 seeds; dealt in turn, one in five would."""
    stayed = 0
    for seed in range(20):
        labelled = keepers({"a": 120, "b": 80})
        before = {keeper.image_id: fold for keeper, fold in deal(labelled, 5, seed)}
        labelled += keepers({"a": 12, "b": 8}, first=1000)
        now = {keeper.image_id: fold for keeper, fold in deal(labelled, 5, seed)}
        stayed += sum(now[number] == fold for number, fold in before.items())
    assert stayed >= 0.9 * 20 * 200


def test_the_source_is_the_first_that_showed_an_image(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """Half of the images are from another source: so is half of each side, whoever showed them later."""
    project = make_project("Red", "Green", dataset__target="16", dataset__validation="4")
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(16), "Green": range(16)}), labels=True)
    with project.database.write() as session:
        for sighting in session.query(Sighting).filter(Sighting.image_id % 2 == 0):
            sighting.source = "commons"
            later = Sighting(candidate_id=sighting.candidate_id, image_id=sighting.image_id, source="bing")
            session.add(later)
    for side, share in ((Side.VALIDATION, 2), (Side.TRAIN, 6)):
        found = [number for number, on in sides(project, split(project).snapshot).items() if on is side]
        assert Counter(number % 2 for number in found) == {0: 2 * share, 1: 2 * share}
