"""Whose answer counts: by each policy, after a review, and beside answers that were accepted unseen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from curate.edit import set_value
from curate.people.disagreement import disputed
from curate.people.voices import heard
from curate.project import Project, open_project
from curate.select import unlabelled
from db.answers import LabelPolicy, Rule
from db.errors import ConfigError
from db.labels import Answer, accepted_keepers, keeper_labels, record, settle
from db.models import (
    Annotation,
    AnnotationOrigin,
    Annotator,
    Label,
    LabellingProject,
    LabellingTask,
    Other,
    ReviewReason,
)
from db.policy import put_in_force
from db.reviews import ask, waiting
from tests.test_labels import GREEN, RED, add_image, imported, says

ANN, BOB, CAT = "1", "2", "3"
"""Numbers of people on the server."""


@contextmanager
def labelled(project: Project, policy: LabelPolicy, *answers: Answer) -> Iterator[Session]:
    """A dataset of three images on a server with three people, who gave these answers, under a policy."""
    with project.database.write() as session:
        session.add(LabellingProject(id=1, server="here", number=1, title="x", config_sha256=""))
        for number, email in ((ANN, "ann@x.org"), (BOB, "bob@x.org"), (CAT, "cat@x.org")):
            session.add(Annotator(server="here", number=number, email=email))
        session.flush()
        for image in (1, 2, 3):
            add_image(session, image)
            session.add(LabellingTask(id=image, project_id=1, image_id=image, data_url=""))
        session.flush()
        put_in_force(session, policy)
        record(session, answers)
        yield session


def answer(image: int, class_id: int | None, by: str, minute: int, other: Other | None = None) -> Answer:
    """What a person says in Label Studio."""
    given = says(image, class_id, by=by, minute=minute)
    return Answer(given.key, given.origin, image, given.state, class_id, given.answered_at, other, image, by)


def decision(session: Session, image: int = 1) -> tuple[int | None, Other | None]:
    """What an image counts as; neither where it is in conflict."""
    label = session.get_one(Label, image)
    assert label.conflict is (label.class_id is None and label.other is None)
    return label.class_id, label.other


TWO_AGAINST_ONE = [answer(1, RED, ANN, 1), answer(1, RED, BOB, 2), answer(1, GREEN, CAT, 3)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (LabelPolicy(Rule.LATEST), GREEN),
        (LabelPolicy(Rule.MAJORITY), RED),
        (LabelPolicy(Rule.CROWDLAB), RED),
        (LabelPolicy(Rule.TRUSTED, ("BOB@x.org", "cat@x.org")), RED),
        (LabelPolicy(Rule.TRUSTED, ("cat@x.org", "bob@x.org")), GREEN),
        (LabelPolicy(Rule.TRUSTED, ("nobody@x.org",)), GREEN),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_each_policy_decides_its_way(
    project: Project, policy: LabelPolicy, expected: int, order: tuple[int, ...]
) -> None:
    """Of three answers, two of them the same, each policy picks by its own rule, in whatever order they came."""
    with labelled(project, policy, *(TWO_AGAINST_ONE[place] for place in order)) as session:
        assert decision(session) == (expected, None)


def test_a_tie_decides_nothing(project: Project) -> None:
    """Under the majority's rule two people who differ leave a conflict, which goes back to people."""
    tie = [answer(1, RED, ANN, 1), answer(1, None, BOB, 2, Other.NONE)]
    with labelled(project, LabelPolicy(Rule.MAJORITY), *tie) as session:
        assert decision(session) == (None, None)
        assert [image.id for image in unlabelled(session)] == [1, 2, 3]
        assert [dispute.image_id for dispute in disputed(session)] == [1]


def test_a_person_has_one_voice(project: Project) -> None:
    """Somebody who answered one image twice counts once, with the later answer."""
    twice = [answer(1, RED, ANN, 1), answer(1, GREEN, BOB, 3)]
    again = replace(answer(1, RED, ANN, 2), key="label_studio:1:again")
    with labelled(project, LabelPolicy(Rule.MAJORITY), *twice, again) as session:
        assert decision(session) == (None, None)


def test_a_person_is_the_same_where_the_server_has_lost_the_task(project: Project) -> None:
    """After a restore an answer may have no task: who is trusted stays so, and answering again adds no voice."""
    given = [answer(1, RED, ANN, 1), answer(1, GREEN, BOB, 2), answer(2, RED, ANN, 1), answer(2, GREEN, BOB, 2)]
    with labelled(project, LabelPolicy(Rule.TRUSTED, ("ann@x.org",)), *given) as session:
        session.execute(update(Annotation).values(task_id=None))
        settle(session, [1, 2])
        assert (decision(session, 1), decision(session, 2)) == ((RED, None), (RED, None))
        put_in_force(session, LabelPolicy(Rule.MAJORITY))
        record(session, [replace(answer(1, RED, ANN, 3), key="label_studio:1:again")])
        assert decision(session, 1) == (None, None)
        assert heard(session)[1].keys() == {"ann@x.org", "bob@x.org"}


def test_what_is_of_no_class_is_an_answer(project: Project) -> None:
    """That an image is of none of the classes outranks an import, leaves the queue, and is no conflict."""
    with labelled(project, LabelPolicy(), imported(1, RED, "a"), answer(1, None, ANN, 1, Other.NONE)) as session:
        assert decision(session) == (None, Other.NONE)
        (label,) = keeper_labels(session)
        assert (label.class_id, label.other, label.conflict) == (None, Other.NONE, False)
        assert [image.id for image in unlabelled(session)] == [2, 3]


@pytest.mark.parametrize("rule", list(Rule))
def test_a_review_outranks_every_policy(project: Project, rule: Rule) -> None:
    """Once somebody was asked to decide, the next answer does, and what was said before does not come back."""
    policy = LabelPolicy(rule, ("ann@x.org",))
    with labelled(project, policy, *TWO_AGAINST_ONE) as session:
        ask(session, [dispute.image_id for dispute in disputed(session)], ReviewReason.DISAGREEMENT)
        assert waiting(session) == {1: ReviewReason.DISAGREEMENT}
        assert 1 in {image.id for image in unlabelled(session)}
        record(session, [answer(1, GREEN, BOB, 9)])
        assert decision(session) == (GREEN, None)
        assert waiting(session) == {}
        assert disputed(session) == []
        settle(session, [1])
        assert decision(session) == (GREEN, None)


def test_a_check_asks_for_answers_like_any_other(project: Project) -> None:
    """Of three people who check what a run said, the majority counts, and their dispute is seen as one."""
    with labelled(project, LabelPolicy(Rule.MAJORITY), accepted(1, GREEN)) as session:
        ask(session, [1], ReviewReason.CHECK)
        record(session, TWO_AGAINST_ONE)
        assert waiting(session) == {}
        assert decision(session) == (RED, None)
        assert [dispute.image_id for dispute in disputed(session)] == [1]


def accepted(image: int, class_id: int) -> Answer:
    """A run that was taken at its word."""
    return says(image, class_id, by="run", origin=AnnotationOrigin.ACCEPTED)


@pytest.mark.parametrize("count", [False, True])
def test_accepted_answers_count_only_if_told(project: Project, count: bool) -> None:
    """They leave the queue either way; they count as labels, and give way to anybody's word, as `curate.toml` says."""
    policy = LabelPolicy(accepted_count=count)
    answers = [accepted(1, RED), accepted(2, RED), imported(2, GREEN, "a"), accepted(3, RED)]
    with labelled(project, policy, *answers, answer(3, GREEN, ANN, 1)) as session:
        labels = {label.keeper_id: label.class_id for label in keeper_labels(session)}
        assert labels == ({1: RED} if count else {}) | {2: GREEN, 3: GREEN}
        assert accepted_keepers(session) == {1: RED}
        assert unlabelled(session) == []
        ask(session, [1], ReviewReason.CHECK)
        assert [image.id for image in unlabelled(session)] == [1]


def test_another_policy_decides_anew(project: Project) -> None:
    """A change of `curate.toml` is followed by the next command, whichever it is."""
    with labelled(project, LabelPolicy(), *TWO_AGAINST_ONE):
        pass
    with project.database.read() as session:
        assert decision(session) == (GREEN, None)
    set_value(project.root / "curate.toml", "labelling.policy", "majority")
    opened = open_project(project.root)
    with opened.database.read() as session:
        assert decision(session) == (RED, None)
        assert session.scalars(select(Label)).one().conflict is False
    opened.database.close()


def test_trusting_nobody_is_refused(project: Project) -> None:
    """The policy of trust needs somebody to trust, and says so before anything is written."""
    file = project.root / "curate.toml"
    before = file.read_text()
    with pytest.raises(ConfigError, match=r"labelling\.trusted first"):
        set_value(file, "labelling.policy", "trusted")
    assert file.read_text() == before
