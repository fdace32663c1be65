"""Anything people do, in any order: what is on the disk, in the database and in the split always fits together."""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from curate.dedup.search import dedup
from curate.doctor import examine
from curate.ingest.folder import import_folder
from curate.project import Project, create, open_project
from curate.split import latest_snapshot, split
from curate.status import status
from db.errors import DatasetError
from db.labels import Answer, keeper_labels, record
from db.models import Annotation, AnnotationOrigin, AnnotationState, Base, Image, Side, Snapshot, SnapshotItem
from db.models.base import now
from tests.pictures import encoded, picture

CLASSES = ("Red", "Green")
TARGET = 5
HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much]

classes = st.sampled_from(CLASSES)
pictures = st.integers(0, 11)


def rows(project: Project) -> dict[str, list[Any]]:
    """Everything in the database."""
    tables = Base.metadata.sorted_tables
    with project.database.read() as session:
        return {table.name: sorted(map(tuple, session.execute(select(table))), key=str) for table in tables}


class Machine(RuleBasedStateMachine):
    """A project, a folder of pictures, people who label, and every stage between."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="curate-machine-"))
        self.folder = self.place / "in"
        self.held_out: set[int] = set()
        """Images that any split has ever validated on."""

    @initialize()
    def begin(self) -> None:
        """Make the project."""
        create(self.place / "project", None, CLASSES).database.close()
        file = self.place / "project" / "curate.toml"
        text = file.read_text().replace("target = 250", f"target = {TARGET}")
        file.write_text(text.replace("validation = 50", "validation = 2"))
        self.project = open_project(self.place / "project")
        self.folder.mkdir()

    def teardown(self) -> None:
        """Take it away."""
        if hasattr(self, "project"):
            self.project.database.close()
        shutil.rmtree(self.place)

    def twice(self, command: Callable[[], object]) -> None:
        """Run a command; the same again changes nothing."""
        command()
        after = rows(self.project)
        command()
        assert rows(self.project) == after

    def save(self, name: str, where: str | None, data: bytes) -> None:
        """Put a file into the folder of a class, or of none."""
        folder = self.folder / where if where else self.folder
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    @rule(numbers=st.lists(pictures, min_size=1, max_size=4), where=st.none() | classes)
    def add_pictures(self, numbers: list[int], where: str | None) -> None:
        """Pictures arrive, in the folder of a class or of none; some that are there already, perhaps elsewhere."""
        for number in numbers:
            self.save(f"{number}.png", where, encoded(picture(number), "PNG"))

    @rule(number=pictures, scale=st.sampled_from([1, 2]), where=st.none() | classes)
    def add_copy(self, number: int, scale: int, where: str | None) -> None:
        """A copy arrives, encoded anew, and perhaps larger, so that it stands for its group from then on."""
        image = picture(number).resize((120 * scale, 90 * scale))
        self.save(f"{number}x{scale}.jpg", where, encoded(image, quality=95))

    @rule(number=pictures, where=classes, to=classes)
    def move_file(self, number: int, where: str, to: str) -> None:
        """Somebody mends a label by moving the file."""
        source = self.folder / where / f"{number}.png"
        if source.exists() and where != to:
            self.save(source.name, to, source.read_bytes())
            source.unlink()

    @rule()
    def import_all(self) -> None:
        """The folder is imported as it now is."""
        self.twice(lambda: import_folder(self.project, self.folder, labels=True))

    @rule()
    def find_duplicates(self) -> None:
        """Copies are looked for."""
        self.twice(lambda: dedup(self.project))

    def images(self) -> int:
        """How many there are; their ids count from 1."""
        with self.project.database.read() as session:
            return session.scalar(select(func.count()).select_from(Image)) or 0

    def answer(self, choice: int, who: str, state: AnnotationState, name: str | None) -> None:
        """Somebody's answer comes in, as a pull brings it."""
        number = choice % self.images() + 1
        with self.project.database.write() as session:
            key = f"test:{number}:{who}"
            ids = self.project.classes(session)
            known = session.scalars(select(Annotation).where(Annotation.key == key)).first()
            if name is None and known is None:
                return  # nothing to take back
            class_id = ids[name] if name is not None else None
            record(
                session,
                [Answer(key, AnnotationOrigin.LABEL_STUDIO, number, state, class_id, answered_at=now(), annotator=who)],
            )

    @precondition(lambda self: self.images() > 0)
    @rule(choice=st.integers(0, 99), who=st.sampled_from(["ann", "bob"]), name=classes)
    def label(self, choice: int, who: str, name: str) -> None:
        """Somebody labels an image, or labels it anew."""
        self.answer(choice, who, AnnotationState.ACTIVE, name)

    @precondition(lambda self: self.images() > 0)
    @rule(choice=st.integers(0, 99), who=st.sampled_from(["ann", "bob"]), skip=st.booleans())
    def take_back(self, choice: int, who: str, skip: bool) -> None:
        """Somebody deletes a label, or skips the image after all."""
        self.answer(choice, who, AnnotationState.SKIPPED if skip else AnnotationState.DELETED, None)

    @rule()
    def freeze(self) -> None:
        """A split is made. Copies of one photograph are on one side, and what was held out once stays so."""
        try:
            self.twice(lambda: split(self.project))
        except DatasetError:
            with self.project.database.read() as session:
                assert all(label.class_id is None for label in keeper_labels(session))
            return
        with self.project.database.read() as session:
            snapshot = latest_snapshot(session)
            assert snapshot is not None
            images = {image.id: image for image in session.scalars(select(Image))}
            labels = {label.keeper_id: label.class_id for label in keeper_labels(session)}
            ids = self.project.classes(session)
            groups: dict[int, set[int]] = defaultdict(set)
            for image in images.values():
                groups[image.group_id or -image.id].add(image.id)
            items = [(item.image_id, item.side, snapshot.classes[item.class_index]) for item in snapshot.items]
        for number, side, name in items:
            image = images[number]
            assert image.is_keeper
            assert labels[number] == ids[name]
            if side is Side.TRAIN:
                assert not groups[image.group_id or -number] & self.held_out, "trained on what was held out"
        assert len({images[number].group_id or -number for number, _, _ in items}) == len(items)
        for name in CLASSES:
            assert sum(item[2] == name for item in items) <= TARGET
        self.held_out |= {number for number, side, _ in items if side is Side.VALIDATION}

    @invariant()
    def every_row_has_its_file_and_every_file_its_row(self) -> None:
        """Nothing is lost, nothing left over."""
        with self.project.database.read() as session:
            expected = {image.relative_path for image in session.scalars(select(Image))}
        store = self.project.store
        assert {path.relative_to(store.root).as_posix() for path in store.files()} == expected

    @invariant()
    def counts_add_up(self) -> None:
        """Every image is in one count of the status."""
        found = status(self.project)
        assert found.images == found.keepers + found.duplicates + found.set_aside == self.images()
        labelled = sum(counts.labelled for counts in found.classes.values())
        assert labelled + found.unlabelled == found.keepers
        assert 0 <= found.conflicts <= found.unlabelled
        assert all(counts.images == counts.labelled for counts in found.classes.values())  # nothing was crawled

    @invariant()
    def splits_never_change(self) -> None:
        """What was frozen stays as it was."""
        with self.project.database.read() as session:
            frozen = {s.id: (s.content_sha256, len(s.items)) for s in session.scalars(select(Snapshot))}
            held_out = select(SnapshotItem.image_id).where(SnapshotItem.side == Side.VALIDATION)
            assert set(session.scalars(held_out)) == self.held_out
        known: dict[int, tuple[str, int]] = getattr(self, "frozen", {})
        assert known.items() <= frozen.items()
        self.frozen = frozen

    @rule()
    def see_the_doctor(self) -> None:
        """Nothing is wrong, not even what could be repaired."""
        assert examine(self.project, repair=True) == []


@pytest.mark.long
def test_any_order_of_work_keeps_the_dataset_whole() -> None:
    """Imports, copies, searches, labels, second thoughts and splits, some hundred of them in made-up orders."""
    short = settings(
        max_examples=12,
        stateful_step_count=35,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=HEALTH,
    )
    run_state_machine_as_test(Machine, settings=short)


@pytest.mark.soak
def test_long_orders_of_work_keep_the_dataset_whole() -> None:
    """As the short form, longer, and in other orders each time."""
    long = settings(max_examples=400, stateful_step_count=60, deadline=None, suppress_health_check=HEALTH)
    run_state_machine_as_test(Machine, settings=long)
