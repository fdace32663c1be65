"""Splits under everything that happens between two of them: no leak, nothing silently lost, nothing frozen changed."""

import functools
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from curate.dedup.groups import regroup
from curate.dedup.search import dedup
from curate.dedup.word import join, take_apart
from curate.forget import forget
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.project import Project, create, open_project
from curate.split import SplitReport, split
from curate.split.folds import folds
from curate.studio import Environment
from db.errors import DatasetError
from db.labels import Answer, keeper_labels, record
from db.models import AnnotationOrigin, AnnotationState, Image, ImageState, Side, Sighting, Snapshot, SnapshotItem
from db.models.base import now
from tests.pictures import encoded, picture

CLASSES = ("Red", "Green")
TARGET = 6
VALIDATION = 2
HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much]

classes = st.sampled_from(CLASSES)
pictures = st.integers(0, 9)
choices = st.integers(0, 99)

Item = tuple[int, Side, str]
"""Image id, side and class."""


@functools.cache
def file_of(number: int, kind: int) -> tuple[str, bytes]:
    """A picture as one of three files: as it is, encoded anew and smaller, or larger, to stand for the others."""
    image = picture(number, (160, 120))
    if kind == 0:
        return f"{number}.png", encoded(image, "PNG")
    size = (128, 96) if kind == 1 else (240, 180)
    return f"{number}-{kind}.jpg", encoded(image.resize(size), quality=92)


class Splits(RuleBasedStateMachine):
    """A project in which pictures, copies, labels and second thoughts come in any order, and splits between them."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="curate-splits-"))
        self.imports = 0
        self.frozen: dict[int, set[Item]] = {}
        """What each snapshot held when it was made."""

    @initialize()
    def begin(self) -> None:
        """Make the project."""
        create(self.place / "project", None, CLASSES).database.close()
        file = self.place / "project" / "curate.toml"
        text = file.read_text().replace("target = 250", f"target = {TARGET}")
        file.write_text(text.replace("validation = 50", f"validation = {VALIDATION}"))
        self.project: Project = open_project(self.place / "project")

    def teardown(self) -> None:
        """Take it away."""
        if hasattr(self, "project"):
            self.project.database.close()
        shutil.rmtree(self.place)

    def count(self) -> int:
        """How many images there are; their ids count from 1."""
        with self.project.database.read() as session:
            return session.scalar(select(func.count()).select_from(Image)) or 0

    def image(self, choice: int) -> int:
        """Some image."""
        return choice % self.count() + 1

    @rule(files=st.lists(st.tuples(pictures, st.integers(0, 2), classes), min_size=1, max_size=8))
    def import_pictures(self, files: list[tuple[int, int, str]]) -> None:
        """Pictures and copies of them come in with labels, some with several; each time from another source."""
        self.imports += 1
        folder = self.place / f"in{self.imports}"
        for number, kind, label in files:
            name, data = file_of(number, kind)
            (folder / label).mkdir(parents=True, exist_ok=True)
            (folder / label / name).write_bytes(data)
        import_folder(self.project, folder, labels=True)
        with self.project.database.write() as session:
            for sighting in session.scalars(select(Sighting).where(Sighting.source == "import")):
                sighting.source = f"source{self.imports % 3}"

    @rule()
    def find_duplicates(self) -> None:
        """Copies are looked for."""
        dedup(self.project)

    @precondition(lambda self: self.count() > 0)
    @rule(choice=choices, name=st.none() | classes)
    def label(self, choice: int, name: str | None) -> None:
        """A person labels an image, or takes the label back."""
        number = self.image(choice)
        state = AnnotationState.ACTIVE if name else AnnotationState.DELETED
        with self.project.database.write() as session:
            class_id = self.project.classes(session)[name] if name else None
            answer = Answer(f"t:{number}", AnnotationOrigin.LABEL_STUDIO, number, state, class_id, answered_at=now())
            record(session, [answer])

    @precondition(lambda self: self.count() > 1)
    @rule(one=choices, other=choices)
    def join_two(self, one: int, other: int) -> None:
        """A person says that two images are the same photograph."""
        first, second = self.image(one), self.image(other)
        with self.project.database.read() as session:
            usable = [session.get_one(Image, n).state is not ImageState.FORGOTTEN for n in (first, second)]
        if first != second and all(usable):
            join(self.project, str(first), str(second))

    @precondition(lambda self: self.frozen)
    @rule(one=choices, other=choices)
    def join_across_the_split(self, one: int, other: int) -> None:
        """A person says so of an image that was held out and one that was learned from."""
        items = sorted(item for items in self.frozen.values() for item in items)
        held, learned = ([n for n, side, _ in items if side is wanted] for wanted in (Side.VALIDATION, Side.TRAIN))
        if held and learned:
            self.join_two(held[one % len(held)] - 1, learned[other % len(learned)] - 1)

    @precondition(lambda self: self.groups())
    @rule(choice=choices)
    def take_a_group_apart(self, choice: int) -> None:
        """A person says that a group's images are different photographs."""
        groups = sorted(self.groups())
        take_apart(self.project, groups[choice % len(groups)])

    @precondition(lambda self: self.count() > 0)
    @rule(choice=choices)
    def set_aside_or_bring_back(self, choice: int) -> None:
        """An image is found too poor to use, or not after all; groups follow."""
        other = {ImageState.STORED: ImageState.SET_ASIDE, ImageState.SET_ASIDE: ImageState.STORED}
        with self.project.database.write() as session:
            image = session.get_one(Image, self.image(choice))
            image.state = other.get(image.state, image.state)
            session.flush()
            regroup(session)

    @precondition(lambda self: self.count() > 0)
    @rule(choice=choices)
    def forget_one(self, choice: int) -> None:
        """An image is forgotten for good."""
        nowhere = Environment(self.project.root / "nowhere", None)
        forget(self.project, str(self.image(choice)), Labelling(self.project, nowhere))

    @rule(seed=st.integers(0, 3))
    def freeze(self, seed: int) -> None:
        """A split is made; made again, it is the same."""
        try:
            report = split(self.project)
        except DatasetError:
            with self.project.database.read() as session:
                assert all(label.class_id is None for label in keeper_labels(session))
            return
        assert split(self.project) == report
        new = report.snapshot not in self.frozen
        if new:
            self.frozen[report.snapshot] = self.items(report.snapshot)
        self.check(report)
        self.check_left(report, new)
        self.check_folds(seed)

    def check(self, report: SplitReport) -> None:
        """The newest snapshot holds no copies, no more than wanted, and learns from nothing that was ever held out."""
        items = self.frozen[report.snapshot]
        groups, held_out = self.groups_of(), self.held_out()
        members: dict[int, set[int]] = defaultdict(set)
        for number, group in groups.items():
            members[group].add(number)
        assert len({groups[number] for number, _, _ in items}) == len(items), "two of a group"
        for number, side, _ in items:
            if side is Side.TRAIN:
                assert not members[groups[number]] & held_out, "trained on what was held out"
        for name, counts in report.classes.items():
            found = [side for _, side, label in items if label == name]
            assert (counts.train, counts.validation) == (found.count(Side.TRAIN), found.count(Side.VALIDATION))
            assert counts.validation <= VALIDATION
            assert counts.train + counts.validation + counts.missing == TARGET

    def check_left(self, report: SplitReport, new: bool) -> None:
        """What was held out before is held out still, or is listed; and what is listed had to leave."""
        before = self.frozen.get(report.snapshot - 1, set())
        now_held = {(number, name) for number, side, name in self.frozen[report.snapshot] if side is Side.VALIDATION}
        was_held = {(number, name) for number, side, name in before if side is Side.VALIDATION}
        assert {(one.image, one.label) for one in report.left} == was_held - now_held
        with self.project.database.read() as session:
            labels = {label.keeper_id: label.class_id for label in keeper_labels(session)}
            ids = self.project.classes(session)
        for one in report.left if new else []:  # later, an image may be back when its place is taken
            assert labels.get(one.image) != ids[one.label], "left although it is labelled and in use"

    def check_folds(self, seed: int) -> None:
        """The train side is dealt whole and evenly."""
        with self.project.database.read() as session:
            try:
                dealt = folds(session, 2, seed)
            except DatasetError:
                return  # fewer images than folds
        latest = self.frozen[max(self.frozen)]
        assert {one.id for one in dealt} == {number for number, side, _ in latest if side is Side.TRAIN}
        for name in CLASSES:
            sizes = [sum(one.fold == fold and one.label == name for one in dealt) for fold in (0, 1)]
            assert abs(sizes[0] - sizes[1]) <= 1

    def items(self, snapshot: int) -> set[Item]:
        """What a snapshot holds."""
        with self.project.database.read() as session:
            names = session.get_one(Snapshot, snapshot).classes
            rows = session.scalars(select(SnapshotItem).where(SnapshotItem.snapshot_id == snapshot))
            return {(item.image_id, item.side, names[item.class_index]) for item in rows}

    def held_out(self) -> set[int]:
        """Images that any split has ever validated on."""
        return {number for items in self.frozen.values() for number, side, _ in items if side is Side.VALIDATION}

    def groups(self) -> set[int]:
        """The groups there are."""
        return {group for group in self.groups_of().values() if group > 0}

    def groups_of(self) -> dict[int, int]:
        """The group of each image; below zero where it is alone."""
        with self.project.database.read() as session:
            rows = session.execute(select(Image.id, Image.group_id))
            return {number: group or -number for number, group in rows}

    @invariant()
    def what_was_frozen_stays(self) -> None:
        """No snapshot ever changes, and none is there that no split made."""
        with self.project.database.read() as session:
            numbers = set(session.scalars(select(Snapshot.id)))
        assert numbers == set(self.frozen)
        for number in numbers:
            assert self.items(number) == self.frozen[number]

    @invariant()
    def no_group_has_two_keepers(self) -> None:
        """One, always."""
        with self.project.database.read() as session:
            keepers = select(Image.group_id, func.count()).where(Image.is_keeper, Image.group_id.is_not(None))
            assert all(count == 1 for _, count in session.execute(keepers.group_by(Image.group_id)))


@pytest.mark.long
def test_no_order_of_events_makes_a_split_leak() -> None:
    """Some dozens of made-up orders, the same each time."""
    short = settings(
        max_examples=20,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=HEALTH,
    )
    run_state_machine_as_test(Splits, settings=short)


@pytest.mark.soak
def test_no_long_order_of_events_makes_a_split_leak() -> None:
    """As the short form, longer, and in other orders each time."""
    long = settings(max_examples=400, stateful_step_count=60, deadline=None, suppress_health_check=HEALTH)
    run_state_machine_as_test(Splits, settings=long)
