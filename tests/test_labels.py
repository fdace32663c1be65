"""From answers to the label that counts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.project import Project
from db.labels import Answer, keeper_labels, record
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationState,
    DuplicateGroup,
    Image,
    ImageState,
    Label,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
RED, GREEN = 1, 2


def add_image(session: Session, number: int, group: int | None = None, *, keeper: bool = True) -> None:
    """An image row; tests of labels need no file."""
    if group is not None and session.get(DuplicateGroup, group) is None:
        session.add(DuplicateGroup(id=group))
        session.flush()
    facts = {"phash": number, "width": 9, "height": 9, "format": "PNG", "bytes": 9, "sharpness": 1.0}
    session.add(Image(id=number, sha256=f"{number:064x}", group_id=group, is_keeper=keeper, **facts))
    session.flush()


def says(
    image: int,
    class_id: int | None,
    *,
    by: str = "ann",
    minute: int = 0,
    origin: AnnotationOrigin = AnnotationOrigin.LABEL_STUDIO,
    state: AnnotationState = AnnotationState.ACTIVE,
) -> Answer:
    """What `by` says of an image."""
    moment = START + timedelta(minutes=minute)
    return Answer(f"{origin}:1:{by}.{image}", origin, image, state, class_id, moment, annotator=by)


def imported(image: int, class_id: int, folder: str) -> Answer:
    """What a folder's name says of an image."""
    return says(image, class_id, by=folder, origin=AnnotationOrigin.IMPORT)


@pytest.fixture
def settled(project: Project) -> Callable[..., dict[int, tuple[int | None, bool]]]:
    """Labels after some answers about image 1 and 2: class and conflict by image."""

    def settle(*answers: Answer) -> dict[int, tuple[int | None, bool]]:
        with project.database.write() as session:
            for number in (1, 2):
                add_image(session, number)
            record(session, answers)
            return {label.image_id: (label.class_id, label.conflict) for label in session.scalars(select(Label))}

    return settle


def test_the_latest_person_counts(settled: Callable[..., object]) -> None:
    """Of two people the later answer is the label, in whatever order they arrive."""
    assert settled(says(1, RED, by="bob", minute=5), says(1, GREEN, by="ann", minute=1)) == {1: (RED, False)}


def test_people_outrank_imports(settled: Callable[..., object]) -> None:
    """A folder's name counts until a person says otherwise."""
    assert settled(says(1, RED), imported(1, GREEN, "a"), imported(2, GREEN, "a")) == {
        1: (RED, False),
        2: (GREEN, False),
    }


def test_imports_that_differ_are_a_conflict(settled: Callable[..., object]) -> None:
    """The same bytes in two classes' folders count as no label."""
    assert settled(imported(1, RED, "a"), imported(1, GREEN, "b")) == {1: (None, True)}


def test_skipped_and_deleted_answers_do_not_count(settled: Callable[..., object]) -> None:
    """A skip after an answer of somebody else leaves that answer; a deleted one counts no more."""
    answers = [says(1, RED), says(1, None, by="bob", minute=9, state=AnnotationState.SKIPPED)]
    assert settled(*answers, says(2, RED), says(2, RED, state=AnnotationState.DELETED)) == {1: (RED, False)}


def test_every_change_is_a_revision(project: Project) -> None:
    """An edited annotation keeps its history; the same answer again adds nothing."""
    with project.database.write() as session:
        add_image(session, 1)
        first = record(session, [says(1, RED)])
        again = record(session, [says(1, RED)])
        edit = record(session, [says(1, GREEN, minute=3)])
        (annotation,) = session.scalars(select(Annotation))
        assert [(r.number, r.class_id) for r in annotation.revisions] == [(1, RED), (2, GREEN)]
        assert session.get_one(Label, 1).class_id == GREEN
    assert [(r.created, r.updated) for r in (first, again, edit)] == [(1, 0), (0, 0), (0, 1)]


def test_an_import_run_again_is_no_newer_answer(project: Project) -> None:
    """Importing the same folder later changes nothing, whatever the clock says."""
    with project.database.write() as session:
        add_image(session, 1)
        record(session, [says(1, RED, origin=AnnotationOrigin.IMPORT)])
        again = record(session, [says(1, RED, origin=AnnotationOrigin.IMPORT, minute=60)])
    assert (again.created, again.updated) == (0, 0)


def keepers(project: Project, answers: list[Answer]) -> dict[int, int | None]:
    """Labels by keeper, in a dataset where 1, 2 and 3 are copies and 1 is their keeper."""
    with project.database.write() as session:
        for number in (1, 2, 3):
            add_image(session, number, group=7, keeper=number == 1)
        add_image(session, 4)
        record(session, answers)
        return {label.keeper_id: label.class_id for label in keeper_labels(session)}


def test_a_keeper_without_label_takes_a_members(project: Project) -> None:
    """What was said of a copy holds for the keeper."""
    assert keepers(project, [says(3, RED)]) == {1: RED}


def test_members_that_disagree_leave_the_keeper_without(project: Project) -> None:
    """Imports of two copies under two classes are a conflict of the group."""
    assert keepers(project, [imported(2, RED, "a"), imported(3, GREEN, "b"), says(4, GREEN)]) == {1: None, 4: GREEN}


def test_a_person_settles_a_group(project: Project) -> None:
    """Labelling the keeper by hand outranks what folders said of its copies."""
    assert keepers(project, [says(1, GREEN), imported(2, RED, "a"), imported(3, GREEN, "b")]) == {1: GREEN}


def test_two_people_who_label_copies_differently_disagree(project: Project) -> None:
    """Hands that contradict each other on copies are a conflict, not the later one's win."""
    assert keepers(project, [says(2, GREEN), says(3, RED, by="bob", minute=9)]) == {1: None}


def test_what_is_set_aside_has_no_label_that_counts(project: Project) -> None:
    """A keeper out of use is not counted."""
    with project.database.write() as session:
        add_image(session, 1)
        record(session, [says(1, RED)])
        session.get_one(Image, 1).state = ImageState.SET_ASIDE
        session.flush()
        assert keeper_labels(session) == []
