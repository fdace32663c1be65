"""`curate compare`: McNemar's test on images that neither run has learned from, and the pictures behind it."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.comparing import compare, mcnemar
from curate.dedup.word import join
from curate.forget import forget
from curate.labelling import Labelling
from curate.pages.comparison import write_comparison
from curate.pages.pictures import pictures_by_hash
from curate.project import Project
from curate.studio import Environment
from db.errors import DatasetError
from tests.conftest import Cli
from tests.judging import fill, number_of, pretend
from tests.test_classes import change

Answers = dict[str, tuple[str, str]]


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project of two classes."""
    return make_project("Red", "Blue")


@pytest.fixture
def hashes(project: Project, tmp_path: Path) -> list[str]:
    """SHA-256s of twelve red images of `project`."""
    return sorted(fill(project, tmp_path / "in", {"Red": 12, "Blue": 1})["Red"])


def answers(hashes: list[str], wrong: set[int]) -> Answers:
    """Red images, all answered right but some."""
    return {sha256: ("Red", "Blue" if n in wrong else "Red") for n, sha256 in enumerate(hashes)}


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (3, 12, 2 * (1 + 15 + 105 + 455) / 2**15),
        (12, 3, 2 * (1 + 15 + 105 + 455) / 2**15),
        (5, 5, 1.0),
        (1, 3, 2 * (1 + 4) / 16),
    ],
)
def test_the_test_is_exact(first: int, second: int, p: float) -> None:
    """Twice the binomial tail, 1 at most, the same from both sides."""
    assert mcnemar(first, second) == pytest.approx(p, rel=1e-12)


def test_the_test_holds_for_thousands() -> None:
    """A small p is a number, and no overflow."""
    assert 0 < mcnemar(900, 1100) < 1e-5
    assert math.isfinite(mcnemar(0, 5000))


def test_the_better_run_is_named(project: Project, hashes: list[str]) -> None:
    """Whichever is named first; six to none are a difference, five to none are none."""
    pretend(project, "one", answers(hashes, {11}))
    pretend(project, "two", answers(hashes, {0, 1, 2, 3, 4, 5, 11}))
    pretend(project, "three", answers(hashes, {0, 1, 2, 3, 4, 11}))
    found = compare(project, "one", "two")
    assert (found.both_right, found.both_wrong, len(found.only_first), len(found.only_second)) == (5, 1, 6, 0)
    assert found.verdict == "one is better: 6 to 0 of 12 (p = 0.031)"
    assert found.better == compare(project, "two", "one").better == "one"
    again = compare(project, "one", "three")
    assert again.better is None
    assert again.verdict == "no difference that these images could show: 5 to 0 of 12 (p = 0.062)"


def test_only_images_of_both_count(project: Project, hashes: list[str]) -> None:
    """Those that one run alone held out, that have another label in it, or that a run learned from are left out."""
    mine = answers(hashes[:10], {0})
    theirs = answers(hashes[2:], set()) | {hashes[3]: ("Blue", "Blue")}
    pretend(project, "one", mine, train=[(hashes[4], "Red")])
    pretend(project, "two", theirs, train=[(hashes[5], "Red")])
    found = compare(project, "one", "two")
    assert sorted(one.sha256 for one in found.asked) == [hashes[2], *hashes[6:10]]
    assert (found.relabelled, found.learned, found.copies) == (1, 2, 0)


def test_a_class_that_was_renamed_or_merged_between_runs_is_one(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """Runs are compared by what their classes are called today; of a merged one an answer by either name is right."""
    project = make_project("Red", "Pink", "Blue")
    hashes = sorted(fill(project, tmp_path / "in", {"Red": 8, "Pink": 1, "Blue": 1})["Red"])
    pretend(project, "one", answers(hashes, {0, 1}) | {hashes[7]: ("Red", "Pink")})
    project = change(change(project, "merge", "Pink", into="Red"), "rename", "Red", into="Crimson")
    pretend(project, "two", {sha256: ("Crimson", "Blue" if sha256 == hashes[1] else "Crimson") for sha256 in hashes})
    found = compare(project, "one", "two")
    assert (len(found.asked), found.relabelled) == (8, 0)
    assert (found.both_right, len(found.only_first), len(found.only_second), found.both_wrong) == (6, 0, 1, 1)
    only = found.only_second[0]
    assert (only.label, only.first.answer, only.second.answer) == ("Crimson", "Blue", "Crimson")


def test_copies_of_what_was_learned_from_are_left_out(project: Project, hashes: list[str]) -> None:
    """Also where a search joined them after the runs were made; and of copies that both held out one counts."""
    pretend(project, "one", answers(hashes[1:], set()), train=[(hashes[0], "Red")])
    pretend(project, "two", answers(hashes[1:], {2}))
    for left, right in ((0, 1), (2, 3)):
        join(project, str(number_of(project, hashes[left])), str(number_of(project, hashes[right])))
    found = compare(project, "one", "two")
    assert [one.sha256 for one in found.asked] == [hashes[2], *hashes[4:]]
    assert (found.learned, found.copies) == (1, 1)


def test_runs_that_cannot_be_compared_say_why(project: Project, hashes: list[str], cli: Cli) -> None:
    """One line each: nothing in common, nothing left, the same run, no such run."""
    pretend(project, "one", answers(hashes[:4], set()))
    pretend(project, "two", answers(hashes[4:], set()), train=[(sha256, "Red") for sha256 in hashes[:4]])
    pretend(project, "three", dict.fromkeys(hashes[:4], ("Blue", "Blue")))
    for other, what in (("three", "none is left"), ("one", "name two that differ"), ("four", "no run 'four'")):
        with pytest.raises(DatasetError, match=what):
            compare(project, "one", other)
    ran = cli("compare", "one", "two", cwd=project.root)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "held out no image in common" in ran.err


def test_the_command_tells_counts_and_images(project: Project, hashes: list[str], cli: Cli, tmp_path: Path) -> None:
    """Every promised field; the page only where it is asked for."""
    pretend(project, "one", answers(hashes, {11}), sure=6)
    pretend(project, "two", answers(hashes, {0, 1}))
    found = cli("compare", "one", "two", "--json", cwd=project.root, check=True).json
    counts = {key: found[key] for key in ("both_right", "both_wrong", "only_first", "only_second")}
    assert counts == {"both_right": 9, "both_wrong": 0, "only_first": 2, "only_second": 1}
    assert sum(counts.values()) == found["images"]
    assert (found["first"], found["second"], found["p_value"], found["better"]) == ("one", "two", 1.0, None)
    assert found["accuracy"]["first"]["value"] == 11 / 12
    assert found["left_out"] == {"relabelled": 0, "learned_from": 0, "copies": 0}
    assert found["file"] is None
    assert {one["sha256"] for one in found["differ"]} == {hashes[0], hashes[1], hashes[11]}
    last = found["differ"][-1]
    assert (last["sha256"], last["label"]) == (hashes[11], "Red")
    assert (last["first"]["answer"], last["second"]["answer"]) == ("Blue", "Red")
    assert last["id"] == number_of(project, hashes[11])
    assert (project.root / last["path"]).is_file()
    ran = cli("compare", "one", "two", "-o", "two.html", "--project", project.root, cwd=tmp_path, check=True)
    assert "no difference that these images could show: 2 to 1 of 12 (p = 1)" in ran.out
    assert (tmp_path / "two.html").read_text().count('src="data:image/jpeg;base64,') == 3


def test_a_forgotten_image_counts_and_has_no_picture(project: Project, hashes: list[str]) -> None:
    """What the runs answered is known still."""
    pretend(project, "one", answers(hashes, set()))
    pretend(project, "two", answers(hashes, {0, 1}))
    nowhere = Environment(project.root / "nowhere", None)
    forget(project, str(number_of(project, hashes[0])), Labelling(project, nowhere))
    found = compare(project, "one", "two")
    assert len(found.only_first) == 2
    with project.database.read() as session:
        known = pictures_by_hash(session, (one.sha256 for one in found.differing))
    assert set(known) == {hashes[1]}
    file = project.root / "page.html"
    write_comparison(project, found, known, file)
    assert "This image was forgotten." in file.read_text()
    assert file.read_text().count('src="data:image/jpeg;base64,') == 1
