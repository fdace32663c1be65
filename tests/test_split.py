"""The split: exact, whole groups, no leaks, stable from round to round, frozen."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from curate.config import DatasetSettings
from curate.dedup.search import dedup
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import Keeper, split, split_class
from curate.training import manifest_of
from curate.why import why
from db.errors import DatasetError
from db.models import Image, ImageState, Label, Other, Side, Snapshot, SnapshotItem
from tests.conftest import Cli
from tests.pictures import encoded, picture, write_folder


def keepers(count: int, held_out: int = 0) -> list[Keeper]:
    """Labelled images of one class, some of them held out before."""
    return [Keeper(n, [f"{n:064x}"], held_out=n < held_out) for n in range(count)]


@settings(max_examples=300, deadline=None)
@given(
    labelled=st.integers(0, 400), target=st.integers(2, 300), share=st.floats(0.02, 0.6), held_out=st.integers(0, 60)
)
def test_counts_are_exact(labelled: int, target: int, share: float, held_out: int) -> None:
    """Train and validation never exceed the target, are disjoint, and a full class is split exactly."""
    validation = min(max(1, round(target * share)), target - 1)
    chosen = DatasetSettings(target=target, validation=validation)
    train, held, counts = split_class(keepers(labelled, min(held_out, labelled)), chosen)
    assert counts.train + counts.validation + counts.reserve == labelled
    assert counts.train + counts.validation + counts.missing == target
    assert {k.image_id for k in train}.isdisjoint(k.image_id for k in held)
    assert not any(k.held_out for k in train)
    if labelled - min(held_out, labelled) >= target:
        assert (counts.train, counts.validation) == (target - validation, validation)


def test_a_short_class_keeps_the_proportion() -> None:
    """With a tenth of the labels there is a tenth of each side, and always one to validate on."""
    chosen = DatasetSettings(target=250, validation=50)
    for labelled, expected in ((25, (20, 5)), (2, (1, 1)), (3, (2, 1)), (1, (1, 0)), (0, (0, 0)), (250, (200, 50))):
        _, _, counts = split_class(keepers(labelled), chosen)
        assert (counts.train, counts.validation) == expected


@pytest.fixture
def filled(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Ten pictures of each of three classes; eight are wanted, two of them to validate on."""
    project = make_project(dataset__target="8", dataset__validation="2")
    import_folder(
        project, write_folder(tmp_path / "in", dict.fromkeys(("Red", "Green", "Blue"), range(10))), labels=True
    )
    return project


def sides(project: Project, snapshot: int) -> dict[int, Side]:
    """Side of each image in a snapshot."""
    with project.database.read() as session:
        rows = session.execute(
            select(SnapshotItem.image_id, SnapshotItem.side).where(SnapshotItem.snapshot_id == snapshot)
        )
        return {row[0]: row[1] for row in rows}


def test_every_class_gets_exactly_its_target(filled: Project) -> None:
    """Six to learn from and two to validate on, two in reserve, none missing."""
    report = split(filled)
    for counts in report.classes.values():
        assert (counts.train, counts.validation, counts.reserve, counts.missing) == (6, 2, 2, 0)
    assert not report.short


def test_the_same_labels_give_the_same_snapshot(filled: Project, make_project: Callable[..., Project]) -> None:
    """A second split writes nothing; another database with the same images and labels agrees on the content."""
    first, second = split(filled), split(filled)
    assert first == second
    other = make_project(name="other", dataset__target="8", dataset__validation="2")
    import_folder(other, filled.root.parent / "in", labels=True)
    assert split(other).content_sha256 == first.content_sha256


def test_another_seed_gives_another_split(filled: Project, make_project: Callable[..., Project]) -> None:
    """The seed decides who is held out."""
    other = make_project(name="other", dataset__target="8", dataset__validation="2", dataset__seed="1")
    import_folder(other, filled.root.parent / "in", labels=True)
    assert split(other).content_sha256 != split(filled).content_sha256


def test_validation_is_stable_while_labels_come_in(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """From round to round what was held out stays held out, and is never learned from."""
    project = make_project(dataset__target="20", dataset__validation="5")
    held_out: set[int] = set()
    for upto in (4, 9, 14, 25):
        seeds = dict.fromkeys(("Red", "Green", "Blue"), range(upto))
        import_folder(project, write_folder(tmp_path / f"in{upto}", seeds), labels=True)
        now = sides(project, split(project).snapshot)
        validation = {image for image, side in now.items() if side is Side.VALIDATION}
        assert held_out <= validation
        held_out = validation
    assert len(held_out) == 15


def test_a_snapshot_never_changes(filled: Project) -> None:
    """A later split leaves the earlier snapshot as it was."""
    first = split(filled).snapshot
    before = sides(filled, first)
    with filled.database.write() as session:
        session.get_one(Image, next(iter(before))).state = ImageState.SET_ASIDE
    second = split(filled).snapshot
    assert second != first
    assert sides(filled, first) == before
    with filled.database.read() as session:
        assert session.get_one(Snapshot, first).classes == ["Red", "Green", "Blue"]


def test_copies_never_lie_on_both_sides(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """Of a group only the keeper takes part."""
    project = make_project("Red", "Green", dataset__target="10", dataset__validation="5")
    folder = tmp_path / "in"
    for index, name in enumerate(("Red", "Green")):
        (folder / name).mkdir(parents=True)
        for seed in range(5):
            image = picture(100 * index + seed, (300, 200))
            (folder / name / f"{seed}.png").write_bytes(encoded(image, "PNG"))
            (folder / name / f"{seed}.jpg").write_bytes(encoded(image.resize((240, 160)), quality=90))
    import_folder(project, folder, labels=True)
    assert len(dedup(project).groups) == 10
    report = split(project)
    assert [(c.train + c.validation) for c in report.classes.values()] == [5, 5]


def test_joining_a_train_and_a_validation_image_goes_to_validation(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """When copies are found after a split, the held-out side wins, whichever of them is the keeper."""
    project = make_project("Red", "Green", dataset__target="10", dataset__validation="5")
    folder = tmp_path / "in"
    for index, name in enumerate(("Red", "Green")):
        (folder / name).mkdir(parents=True)
        for seed in range(4):
            image = picture(100 * index + seed, (300, 200))
            (folder / name / f"{seed}.png").write_bytes(encoded(image, "PNG"))
            (folder / name / f"{seed}.jpg").write_bytes(encoded(image.resize((240, 160)), quality=90))
    import_folder(project, folder, labels=True)
    before = sides(project, split(project).snapshot)
    groups = dedup(project).groups
    after = sides(project, split(project).snapshot)
    mixed = [g for g in groups if {before.get(m.id) for m in g.members} == {Side.TRAIN, Side.VALIDATION}]
    assert mixed
    for group in mixed:
        assert after.get(group.keeper, Side.VALIDATION) is Side.VALIDATION
        assert [m.id for m in group.members if m.id in after] in ([group.keeper], [])


def test_contradicting_copies_are_left_out_and_listed(project: Project, tmp_path: Path) -> None:
    """A group whose members carry different labels is in no split, and is named with what each says."""
    folder = write_folder(tmp_path / "in", {"Red": range(4), "Green": range(4)})
    image = picture(77, (300, 200))
    (folder / "Red" / "x.png").write_bytes(encoded(image, "PNG"))
    (folder / "Green" / "x.jpg").write_bytes(encoded(image, quality=92))
    import_folder(project, folder, labels=True)
    dedup(project)
    (conflict,) = split(project).conflicts
    assert {name: len(ids) for name, ids in conflict.labels.items()} == {"Red": 1, "Green": 1}
    assert conflict.keeper not in sides(project, 1)


def test_images_that_were_never_searched_are_told(project: Project, cli: Cli, tmp_path: Path) -> None:
    """Of copies that nobody has looked for a split knows nothing."""
    folder = write_folder(tmp_path / "in", {"Red": range(2), "Green": range(2, 4)})
    import_folder(project, folder, labels=True)
    told = "4 images were not searched for duplicates yet"
    assert told in cli("split", cwd=project.root).err
    cli("dedup", cwd=project.root, check=True)
    assert "searched" not in cli("split", cwd=project.root).err


def test_strict_writes_nothing_when_a_class_is_short(project: Project, tmp_path: Path) -> None:
    """With strict a short class is an error that names it, and there is no snapshot."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(3), "Green": range(3)}), labels=True)
    with pytest.raises(DatasetError, match="Red 247"):
        split(project, strict=True)
    assert sides(project, 1) == {}
    assert split(project).short == ["Red", "Green", "Blue"]


def test_nothing_labelled_is_told(project: Project) -> None:
    """Without a label there is nothing to split."""
    with pytest.raises(DatasetError, match="nothing is labelled"):
        split(project)


@pytest.fixture
def strange(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Ten pictures of each of two classes and ten of none; eight are wanted, two of them to validate on."""
    project = make_project("Red", "Green", dataset__target="8", dataset__validation="2")
    folder = write_folder(tmp_path / "in", dict.fromkeys(("Red", "Green", "none of these"), range(10)))
    import_folder(project, folder, labels=True)
    return project


def outsiders(project: Project, snapshot: int) -> dict[int, Side]:
    """Side of each image of no class in a snapshot."""
    with project.database.read() as session:
        return {item.image_id: item.side for item in session.get_one(Snapshot, snapshot).outsiders}


def by_hash(project: Project, snapshot: int) -> dict[str, Side]:
    """As `sides`, by the images' hashes, which two projects share."""
    with project.database.read() as session:
        return {session.get_one(Image, image).sha256: side for image, side in sides(project, snapshot).items()}


def test_images_of_no_class_are_split_as_those_of_a_class(
    strange: Project, make_project: Callable[..., Project]
) -> None:
    """As many at most, in the same proportion; the classes have the images that they would have without."""
    report = split(strange)
    assert list(report.classes) == ["Red", "Green"]
    assert (report.outsiders.train, report.outsiders.validation, report.outsiders.reserve) == (6, 2, 2)
    held = outsiders(strange, report.snapshot)
    assert len(held) == 8
    assert held.keys().isdisjoint(sides(strange, report.snapshot))
    assert split(strange).snapshot == report.snapshot
    image, side = next(iter(held.items()))
    told = why(strange, str(image)).splits
    assert [(place.snapshot, place.side, place.label) for place in told] == [(1, side, "None of these")]
    plain = make_project("Red", "Green", name="plain", dataset__target="8", dataset__validation="2")
    for file in (strange.root.parent / "in" / "none of these").iterdir():
        file.unlink()
    import_folder(plain, strange.root.parent / "in", labels=True)
    assert by_hash(plain, split(plain).snapshot) == by_hash(strange, report.snapshot)


def test_what_was_held_out_as_of_no_class_is_never_learned_from(strange: Project) -> None:
    """Nor when a person says later that it is of a class; nor the other way round."""
    first = split(strange).snapshot
    held = {image for image, side in outsiders(strange, first).items() if side is Side.VALIDATION}
    held_as_red = {image for image, side in sides(strange, first).items() if side is Side.VALIDATION}
    with strange.database.write() as session:
        red = strange.classes(session)["Red"]
        for label in session.scalars(select(Label).where(Label.image_id.in_(held))):
            label.class_id, label.other = red, None
        for label in session.scalars(select(Label).where(Label.image_id.in_(held_as_red))):
            label.class_id, label.other = None, Other.NONE
    second = split(strange).snapshot
    learned = [image for image, side in sides(strange, second).items() if side is Side.TRAIN]
    learned += [image for image, side in outsiders(strange, second).items() if side is Side.TRAIN]
    assert not (held | held_as_red) & set(learned)


def test_nothing_but_images_of_no_class_is_nothing_to_split(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """They teach no class."""
    project = make_project("Red", "Green")
    import_folder(project, write_folder(tmp_path / "in", {"None of these": range(3)}), labels=True)
    with pytest.raises(DatasetError, match="nothing is labelled yet"):
        split(project)


def test_a_forgotten_image_of_no_class_is_named(strange: Project) -> None:
    """A run on the frozen split would need it."""
    first = split(strange).snapshot
    gone = min(outsiders(strange, first))
    with strange.database.write() as session:
        session.get_one(Image, gone).state = ImageState.FORGOTTEN
    with pytest.raises(DatasetError, match=rf"forgotten \({gone}\)"):
        manifest_of(strange, first)
