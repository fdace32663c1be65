"""`curate status --labelling`: what pre-labels do, how fast people are, what is left."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from curate.people.account import Prelabels, account
from curate.project import Project
from curate.share import Share
from db.answers import LabelPolicy
from db.labels import Answer, record
from db.models import DuplicateGroup, Image, Prelabel
from tests.conftest import Cli
from tests.test_labels import GREEN, RED, START, add_image
from tests.test_policy import ANN, BOB, answer, labelled


def gap(shown: tuple[int, int], hidden: tuple[int, int]) -> tuple[float, float, float] | None:
    """The difference between shown and hidden pre-labels, with its interval."""
    return Prelabels(Share(*shown), {}, Share(*hidden)).gap


def test_the_gap_is_newcombes() -> None:
    """His own example (1998, table II): 56 of 70 against 48 of 80 differ by 0.20, from 0.0524 to 0.3339."""
    found = gap((56, 70), (48, 80))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert gap((5, 5), (0, 0)) is None


def given(image: int, class_id: int, by: str, second: int, prelabel: Prelabel = Prelabel.NONE) -> Answer:
    """An answer at a second of the day, by a person, with what became of the pre-label."""
    plain = answer(image, class_id, by, 0)
    moment = START + timedelta(seconds=second)
    return Answer(plain.key, plain.origin, image, plain.state, class_id, moment, None, plain.task_id, by, prelabel, 4.0)


def more_images(session: Session, count: int) -> None:
    """Images beyond the three that are there, without tasks."""
    for number in range(4, 4 + count):
        add_image(session, number)


def test_the_rate_leaves_pauses_out(project: Project) -> None:
    """Two people who answer every 10 and every 20 seconds, with lunch between: 4 answers in 60 s of work."""
    seconds = {ANN: (0, 10, 20, 7000), BOB: (5, 25, 45)}
    with labelled(project, LabelPolicy()) as session:
        more_images(session, 7)
        numbers = iter(range(4, 11))
        for person, moments in seconds.items():
            tasks = [given(next(numbers), RED, person, moment) for moment in moments]
            record(session, [replace(one, task_id=1) for one in tasks])
    found = account(project)
    assert found.left.per_hour == pytest.approx(4 / 60 * 3600)
    rates = {person.name: person.per_hour for person in found.people}
    assert rates == {"ann@x.org": pytest.approx(360), "bob@x.org": pytest.approx(180)}
    target = project.settings.dataset.target
    assert found.left.missing == {"Red": target - 7, "Green": target, "Blue": target}
    assert found.left.useful == 1.0
    assert found.left.hours == pytest.approx((3 * target - 7) / (4 / 60 * 3600))


def test_prelabels_are_judged_by_the_first_answer(project: Project) -> None:
    """Accepted, corrected and hidden are counted apart, by the class that people gave; a later edit changes nothing."""
    said = [
        given(1, RED, ANN, 0, Prelabel.ACCEPTED),
        given(2, RED, ANN, 1, Prelabel.CHANGED),
        given(3, GREEN, ANN, 2, Prelabel.HIDDEN_SAME),
    ]
    with labelled(project, LabelPolicy(), *said) as session:
        record(session, [given(1, GREEN, ANN, 9, Prelabel.CHANGED)])
    found = account(project).prelabels
    assert (found.accepted.hits, found.accepted.of) == (1, 2)
    assert {name: (share.hits, share.of) for name, share in found.corrected.items()} == {"Red": (1, 2)}
    assert (found.hidden.hits, found.hidden.of) == (1, 1)


def test_copies_have_their_keepers_label(project: Project) -> None:
    """A label spreads to the copies behind a keeper, and is counted as such."""
    with labelled(project, LabelPolicy(), answer(1, RED, ANN, 1)) as session:
        session.add(DuplicateGroup(id=7))
        session.flush()
        for number, keeper in ((1, True), (2, False), (3, False)):
            image = session.get_one(Image, number)
            image.group_id, image.is_keeper = 7, keeper
    assert account(project).spread == 2


def test_nothing_yet_is_said_plainly(project: Project, cli: Cli) -> None:
    """Before anybody labelled there is no rate, no agreement and no share, and no error either."""
    said = cli("status", "--labelling", "--project", project.root, check=True).out
    assert "no pre-label was shown to anybody yet" in said
    assert "at what rate they come cannot be told yet" in said
    found = cli("status", "--labelling", "--json", "--project", project.root, check=True).json
    assert found["prelabels"]["accepted"]["value"] is None
    assert found["agreement"]["alpha"] is None
    assert found["left"]["hours"] is None
