"""How far people agree: against published values, and where it cannot be told."""

import pytest

from curate.people.agreement import agreement, alpha

# The example of Krippendorff's paper: four people, twelve images, some not answered by all.
PUBLISHED = {
    "a": "1 2 3 3 2 1 4 1 2 . . .",
    "b": "1 2 3 3 2 2 4 1 2 5 . 3",
    "c": ". 3 3 3 2 3 4 2 2 5 1 .",
    "d": "1 2 3 3 2 4 4 1 2 5 1 .",
}


def units() -> list[dict[str, str]]:
    """What was said of each image, by person."""
    columns = zip(*(row.split() for row in PUBLISHED.values()), strict=True)
    return [{who: said for who, said in zip(PUBLISHED, column, strict=True) if said != "."} for column in columns]


def test_alpha_is_the_published_one() -> None:
    """0.743, by the paper; its interval lies around it and within its range."""
    found = alpha(units())
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert found.images == 11  # one was answered by one person alone
    assert found.interval is not None
    low, high = found.interval
    assert -1 <= low < 0.743 < high <= 1


def test_perfect_agreement_is_one_and_chance_is_none() -> None:
    """Two who always agree have 1; two who always swap two answers have less than 0; one answer only tells nothing."""
    assert alpha([{"a": x, "b": x} for x in "xyxy"]).alpha == 1
    against = alpha([{"a": x, "b": "y" if x == "x" else "x"} for x in "xyxy"]).alpha
    assert against is not None
    assert against < 0
    assert alpha([{"a": "x", "b": "x"}] * 3).alpha is None
    assert alpha([{"a": "x"}] * 3).images == 0


def test_each_class_and_each_pair_is_told() -> None:
    """Classes that people confuse have a lower agreement than one they do not; pairs count what they have in common."""
    said = [("jaguar", "jazzmaster"), ("jazzmaster", "jaguar"), ("jaguar", "jaguar"), ("v", "v"), ("v", "v")]
    found = agreement([{"ann": a, "bob": b} for a, b in said] + [{"cat": "v"}], {x: x.title() for x in ("jaguar", "v")})
    assert found.classes["V"].alpha == 1
    assert found.classes["Jaguar"].alpha is not None
    assert found.classes["Jaguar"].alpha < 0.5
    (pair,) = found.pairs
    assert (pair.people, pair.agree, pair.alpha.images) == (("ann", "bob"), 3, 5)
