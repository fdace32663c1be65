"""Strategies: what each promises of the images it chooses, on small pools made for it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.strategies import STRATEGIES, named
from curate.strategies.badge import _Gradients
from curate.strategies.interface import Pool, margins
from curate.strategies.typiclust import typicality
from db.errors import ConfigError

CENTRES = np.array([[0, 0], [20, 0], [0, 20], [20, 20], [40, 0], [0, 40]], dtype=np.float32)


def chosen(name: str, pool: Pool, count: int, seed: int = 1) -> list[int]:
    return [int(row) for row in named(name).choose(pool, count, np.random.default_rng(seed))]


def blobs(each: int = 12, spread: float = 0.5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images in six groups far from each other, and the group of each."""
    groups = np.repeat(np.arange(len(CENTRES)), each)
    noise = np.random.default_rng(7).normal(0, spread, (len(groups), 2))
    return (CENTRES[groups] + noise).astype(np.float32), groups


def unlabelled(count: int) -> NDArray[np.int64]:
    return np.full(count, -1, dtype=np.int64)


@pytest.fixture
def pool() -> Pool:
    """Sixty images in eight dimensions, every fifth with a label of three classes, and a belief about all."""
    rng = np.random.default_rng(3)
    labels = unlabelled(60)
    labels[::5] = np.arange(12) % 3
    embeddings = rng.normal(size=(60, 8)).astype(np.float32)
    return Pool(embeddings, labels, rng.dirichlet(np.ones(3), 60), np.array([5, 5, 5]))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("believed", [True, False], ids=["with a model", "without"])
def test_every_strategy_chooses_distinct_unlabelled_images(pool: Pool, name: str, believed: bool) -> None:
    """As many as asked, none twice, none with a label, and the same ones for the same seed; with no model too."""
    if not believed:
        pool = Pool(pool.embeddings, pool.labels)
    before = pool.labels.copy()
    rows = chosen(name, pool, 20)
    assert len(rows) == len(set(rows)) == 20
    assert set(rows) <= set(pool.unlabelled.tolist())
    assert chosen(name, pool, 20) == rows
    assert np.array_equal(pool.labels, before)


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_asked_beyond_the_pool_is_all_there_is(pool: Pool, name: str) -> None:
    """The last batch of a pool is what is left, once each; of nothing it is nothing."""
    assert sorted(chosen(name, pool, 500)) == pool.unlabelled.tolist()
    full = Pool(pool.embeddings, np.zeros(60, np.int64), pool.probabilities, pool.missing)
    assert chosen(name, full, 5) == []
    assert chosen(name, pool, 0) == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_copies_of_one_picture_do_not_stop_a_strategy(name: str) -> None:
    """Where all images are the same, and the model says the same of all, every strategy still fills a batch."""
    labels = unlabelled(12)
    labels[0] = 0
    pool = Pool(np.ones((12, 4), np.float32), labels, np.full((12, 3), 1 / 3), np.array([3, 4, 4]))
    rows = chosen(name, pool, 6)
    assert len(set(rows)) == 6
    assert 0 not in rows


@pytest.mark.parametrize("name", ["random", "badge", "typiclust", "coreset"])
def test_another_seed_draws_others(pool: Pool, name: str) -> None:
    """Strategies that draw do so from the generator they are given."""
    pool = Pool(pool.embeddings, unlabelled(60), pool.probabilities)
    assert len({tuple(chosen(name, pool, 10, seed)) for seed in range(4)}) > 1


def test_margin_and_entropy_put_the_most_undecided_first() -> None:
    """They differ where two classes tie and the third is out of the question: margin's favourite, not entropy's."""
    believed = np.array([[0.9, 0.05, 0.05], [0.49, 0.49, 0.02], [0.4, 0.32, 0.28], [1.0, 0.0, 0.0], [0.6, 0.4, 0.0]])
    pool = Pool(np.zeros((5, 2), np.float32), unlabelled(5), believed)
    assert margins(believed).tolist() == pytest.approx([0.85, 0.0, 0.08, 1.0, 0.2])
    assert chosen("margin", pool, 5) == [1, 2, 4, 0, 3]
    assert chosen("entropy", pool, 5) == [2, 1, 4, 0, 3]


def test_coreset_reaches_every_group_before_any_twice() -> None:
    """With one group labelled, the next five images are one of each other group."""
    points, groups = blobs()
    labels = unlabelled(len(points))
    labels[0] = 0
    rows = chosen("coreset", Pool(points, labels), 5)
    assert sorted(groups[rows].tolist()) == [1, 2, 3, 4, 5]
    alone = chosen("coreset", Pool(points, unlabelled(len(points))), 6)
    assert sorted(groups[alone].tolist()) == [0, 1, 2, 3, 4, 5]


def test_coreset_never_leaves_an_image_further_than_its_next_choice() -> None:
    """Each choice is the image furthest from all that were labelled or chosen before, by the plain definition."""
    points, _ = blobs(each=6, spread=4)
    labels = unlabelled(len(points))
    labels[[3, 30]] = 0
    have = [3, 30]
    for row in chosen("coreset", Pool(points, labels), 8):
        distances = np.linalg.norm(points[:, None] - points[have], axis=2).min(1)
        assert distances[row] == pytest.approx(distances.max(), abs=1e-4)
        have.append(row)


def test_typiclust_takes_the_most_typical_of_each_group_without_labels() -> None:
    """Not the groups with a label, and of each other group the one whose neighbours are closest."""
    directions = np.eye(6, dtype=np.float32)
    groups = np.repeat(np.arange(6), 12)
    noise = np.random.default_rng(5).normal(0, 0.05, (72, 6)).astype(np.float32)
    points = directions[groups] + noise
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = unlabelled(72)
    labels[[0, 12]] = [0, 1]
    rows = chosen("typiclust", Pool(points, labels), 4)
    assert sorted(groups[rows].tolist()) == [2, 3, 4, 5]
    for row in rows:
        own = np.flatnonzero(groups == groups[row])
        assert own[typicality(points[own]).argmax()] == row


def test_typiclust_leaves_outliers_for_last() -> None:
    """An image that lies alone is a group of its own, and of no use as long as there are others."""
    directions = np.eye(4, dtype=np.float32)
    groups = np.repeat(np.arange(3), 10)
    noise = np.random.default_rng(5).normal(0, 0.02, (30, 4)).astype(np.float32)
    points = np.concatenate([directions[groups] + noise, directions[3:]])
    rows = chosen("typiclust", Pool(points, unlabelled(31)), 4)
    assert 30 not in rows
    assert set(groups[rows].tolist()) == {0, 1, 2}


def test_badge_measures_gradients_without_writing_them_out() -> None:
    """Its distances are those between the outer products of errors and embeddings, computed in full here."""
    rng = np.random.default_rng(2)
    embeddings, believed = rng.normal(size=(9, 5)).astype(np.float32), rng.dirichlet(np.ones(4), 9)
    errors = believed - np.eye(4)[believed.argmax(1)]
    full = np.stack([np.outer(error, embedding).ravel() for error, embedding in zip(errors, embeddings, strict=True)])
    found = _Gradients(embeddings, believed)
    for row in range(9):
        assert found.squared_distances(row) == pytest.approx(((full - full[row]) ** 2).sum(1), abs=1e-5)


def test_badge_picks_gradients_that_differ() -> None:
    """Of many near-copies that the model is undecided about it takes one, and others in other places."""
    points, groups = blobs(spread=0.01)
    believed = np.full((len(points), 2), [0.55, 0.45])
    rows = chosen("badge", Pool(points + 10, unlabelled(len(points)), believed), 6)
    assert sorted(groups[rows].tolist()) == [0, 1, 2, 3, 4, 5]


def test_badge_leaves_what_the_model_is_sure_of() -> None:
    """Where the model is certain the gradient is nothing: all those are as one place, of which one is enough."""
    believed = np.tile([1.0, 0.0], (20, 1))
    believed[5:9] = [0.6, 0.4]
    points = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    rows = chosen("badge", Pool(points, unlabelled(20), believed), 4)
    assert len({5, 6, 7, 8} & set(rows)) >= 3


def believing(groups: NDArray[np.int64], sure: float, classes: int = 6) -> NDArray[np.float64]:
    """Belief in the group's own class, and the rest in the next one."""
    found = np.zeros((len(groups), classes))
    found[np.arange(len(groups)), groups] = sure
    found[np.arange(len(groups)), (groups + 1) % classes] = 1 - sure
    return found


def test_auto_begins_with_typical_images_and_goes_on_with_undecided_ones() -> None:
    """With few labels it does as typiclust does; with ten a class it asks for what the model is undecided about."""
    points, groups = blobs(each=60)
    believed = believing(groups, 0.95)
    undecided = np.arange(30, 360, 60)
    believed[undecided] = believing(groups[undecided], 0.52)
    few = unlabelled(len(points))
    few[::60] = groups[::60]
    pool = Pool(points, few, believed)
    assert chosen("auto", pool, 1) == chosen("typiclust", pool, 1)
    assert not set(chosen("auto", pool, 5)) & set(undecided.tolist())
    many = unlabelled(len(points))
    for start in range(0, 360, 60):
        many[start : start + 21] = groups[start]
    assert sorted(chosen("auto", Pool(points, many, believed), 6)) == undecided.tolist()


def test_auto_says_of_each_image_by_which_rule_it_was_chosen() -> None:
    """In between, with five labels a class, two of seven are undecided, and the others typical."""
    points, groups = blobs(each=60)
    believed = believing(groups, 0.95)
    undecided = np.arange(30, 360, 60)
    believed[undecided] = believing(groups[undecided], 0.52)
    labels = unlabelled(len(points))
    for start in range(0, 360, 60):
        labels[start : start + 5] = groups[start]
    pool = Pool(points, labels, believed)
    rows = named("auto").choose(pool, 7, np.random.default_rng(1))
    words = named("auto").because(pool, rows)
    assert words == ["undecided"] * 2 + ["typical of many that have few labels"] * 5
    assert set(rows[:2].tolist()) < set(undecided.tolist())
    assert not set(rows[2:].tolist()) & set(rows[:2].tolist())


def test_auto_takes_no_two_alike() -> None:
    """Of images that the model is as undecided about, in six groups, a batch of six has one of each group."""
    points, groups = blobs(each=24, spread=0.05)
    labels = unlabelled(len(points))
    kept = np.concatenate([np.flatnonzero(groups == group)[:21] for group in range(6)])
    labels[kept] = groups[kept]
    rows = chosen("auto", Pool(points, labels, np.full((len(points), 6), 1 / 6)), 6)
    assert sorted(groups[rows].tolist()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("each", [3, 22], ids=["typical", "undecided"])
def test_auto_leaves_classes_that_have_their_labels_for_last(each: int) -> None:
    """Images taken for a class that lacks none come when no others are left, whatever the model says of them."""
    points, groups = blobs(each=30)
    labels = unlabelled(len(points))
    for group in range(6):
        labels[np.flatnonzero(groups == group)[:each]] = group
    missing = np.array([0, 8, 8, 0, 8, 8])
    pool = Pool(points, labels, believing(groups, 0.7), missing)
    left = len(pool.unlabelled)
    rows = chosen("auto", pool, left)
    assert sorted(rows) == pool.unlabelled.tolist()
    lacking = missing[groups[rows]] > 0
    assert lacking[: left * 4 // 6].all()
    assert not lacking[left * 4 // 6 :].any()


def test_auto_prefers_classes_that_lack_more() -> None:
    """Of images as undecided, more are asked for of the class that lacks most."""
    points, groups = blobs(each=40)
    labels = unlabelled(len(points))
    for group in range(6):
        labels[np.flatnonzero(groups == group)[:21]] = group
    believed = np.where(np.eye(6, dtype=bool)[groups], 0.75, 0.05)
    rows = chosen("auto", Pool(points, labels, believed, np.array([10, 10, 90, 10, 10, 10])), 6)
    assert groups[rows].tolist() == [2] * 6


def test_a_strategy_that_is_not_there_is_told_with_those_that_are() -> None:
    """The line lists all names."""
    with pytest.raises(ConfigError, match="no strategy 'margins'; there is: random, entropy, margin, coreset, badge"):
        named("margins")
