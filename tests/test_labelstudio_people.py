"""People on the real server: what they say beside a class, several at once, in which order, what is kept from them."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from curate.cli.show_labelling import account_data
from curate.edit import set_value
from curate.labelling import Labelling
from curate.people.account import account
from curate.people.review import review
from curate.project import open_project
from curate.select import unlabelled
from db.errors import LabelStudioError
from db.labels import keeper_labels
from db.models import AnnotationState, Annotator, Other, Prelabel
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk, Studio, colleague


@pytest.fixture(scope="module")
def bob(studio: Studio) -> Iterator[Studio]:
    """A second person on the server."""
    with colleague(studio, "bob@example.org") as found:
        yield found


def reopened(desk: Desk, **settings: str) -> Desk:
    """The same dataset with other settings under `[labelling]`."""
    for key, value in settings.items():
        set_value(desk.root / "curate.toml", f"labelling.{key}", value)
    project = open_project(desk.root)
    return Desk(project, Labelling(project, desk.labelling.environment), desk.studio)


def next_image(desk: Desk, person: Studio) -> int:
    """The image that the server hands a person next."""
    return int(person.ask("GET", f"/api/projects/{desk.number}/next")["data"]["image_id"])


def test_what_is_of_no_class_is_an_answer(make_desk: MakeDesk, cli: Cli) -> None:
    """None of these, several, and unusable come back as such, in any case; a skip stays a skip; none is a hole."""
    desk = make_desk(4)
    desk.labelling.push()
    tasks = desk.remote()
    for task, said in zip(tasks, ("None of these", "several", "Unusable picture"), strict=False):
        desk.studio.annotate(task["id"], said)
    desk.studio.annotate(tasks[3]["id"], was_cancelled=True)
    report = desk.labelling.pull()
    assert report.unusable == {}
    with desk.project.database.read() as session:
        assert [label.other for label in keeper_labels(session)] == [Other.NONE, Other.SEVERAL, Other.UNUSABLE]
        assert [image.id for image in unlabelled(session)] == [tasks[3]["data"]["image_id"]]
    assert desk.states() == [AnnotationState.ACTIVE] * 3 + [AnnotationState.SKIPPED]
    found = cli("status", "--labelling", "--project", desk.root, "--json", check=True).json
    assert found["others"] == {"none_of_these": 1, "several": 1, "unusable_picture": 1}
    assert (found["tasks"], found["answered"], found["skipped"]) == (4, 3, 1)
    assert cli("status", "--project", desk.root, "--json", check=True).json["others"] == found["others"]


def test_several_people_are_told_apart(make_desk: MakeDesk, bob: Studio) -> None:
    """Names come with the answers; agreement, disputes and each one's work are counted by person."""
    desk = reopened(make_desk(4), overlap="2", policy="majority")
    desk.labelling.start()
    desk.labelling.push()
    tasks = [int(task["id"]) for task in desk.remote()]
    for task, mine, his in zip(tasks, ("Red", "Red", "Green", "Blue"), ("Red", "Green", "Green", "Blue"), strict=True):
        desk.studio.annotate(task, mine)
        bob.annotate(task, his)
    desk.labelling.pull()
    with desk.project.database.read() as session:
        assert "bob@example.org" in session.scalars(select(Annotator.email)).all()
    found = account(desk.project)
    assert {(person.name, person.answers) for person in found.people} == {
        ("bob@example.org", 4),
        ("curate@localhost.localdomain", 4),
    }
    (pair,) = found.agreement.pairs
    assert (pair.agree, pair.alpha.images, found.disputed) == (3, 4, 1)
    assert len(desk.labels()) == 3
    json.dumps(account_data(found), allow_nan=False)


def test_a_review_shows_disputes_and_settles_them(make_desk: MakeDesk, bob: Studio, cli: Cli) -> None:
    """The view lists what people differ on and why; the next answer decides; then the view is empty."""
    desk = reopened(make_desk(3), overlap="2", policy="majority")
    desk.labelling.start()
    desk.labelling.push()
    first, second, _ = desk.remote()
    for task, his in ((first, "Green"), (second, "Red")):
        desk.studio.annotate(task["id"], "Red")
        bob.annotate(task["id"], his)
    desk.labelling.pull()
    image = first["data"]["image_id"]
    listed = cli("label", "review", "--project", desk.root, "--json", check=True).json
    assert [(one["id"], one["reason"]) for one in listed["images"]] == [(image, "disagreement")]
    assert listed["shown"] is None
    sent = review(desk.project, desk.labelling, send=True)
    assert (len(sent.images), sent.shown) == (1, 1)
    ((number, why),) = reviewed(desk)
    assert number == first["id"]
    assert all(part in why for part in ("disagreement", "Green (bob@example.org)", "Red (curate@"))
    assert review(desk.project, desk.labelling, send=True).shown == 1  # sent again it is the same
    assert len(views(desk)) == 1
    (mine,) = [a["id"] for a in desk.remote()[0]["annotations"] if a["completed_by"] == 1]
    desk.studio.edit(mine, "Blue")
    desk.labelling.pull()
    assert desk.labels()[image] == "Blue"
    assert review(desk.project, desk.labelling, send=True).images == []
    assert reviewed(desk) == []


def test_what_was_said_before_the_question_does_not_answer_it(make_desk: MakeDesk, bob: Studio) -> None:
    """An answer that was given and not pulled yet is taken in first; the image waits for one that comes after."""
    desk = reopened(make_desk(1), overlap="2", policy="majority")
    desk.labelling.start()
    desk.labelling.push()
    mine = desk.studio.annotate(desk.task(), "Red")
    bob.annotate(desk.task(), "Green")
    desk.labelling.pull()
    desk.studio.edit(mine, "Blue")
    (question,) = review(desk.project, desk.labelling, send=True).images
    assert set(question.answers.values()) == {"Blue", "Green"}
    desk.labelling.pull()
    assert desk.labels() == {}
    assert len(review(desk.project, desk.labelling, send=True).images) == 1
    desk.studio.edit(mine, "Red")
    desk.labelling.pull()
    assert list(desk.labels().values()) == ["Red"]


def views(desk: Desk) -> list[int]:
    """The project's views."""
    return [view["id"] for view in desk.studio.ask("GET", "/api/dm/views", params={"project": desk.number})]


def reviewed(desk: Desk) -> list[tuple[int, str]]:
    """What the view for review shows: numbers of tasks, and why."""
    (view,) = views(desk)
    shown = desk.studio.ask("GET", "/api/tasks", params={"project": desk.number, "view": view})
    return [(task["id"], task["data"]["review"]) for task in shown["tasks"]]


def test_one_person_gets_the_least_sure_first_and_two_the_order_of_the_push(make_desk: MakeDesk, bob: Studio) -> None:
    """With one person the score orders; with two, whom the server would serve at random, the order of the push does."""
    desk = reopened(make_desk(6), hidden="0")
    desk.labelling.push()
    images = [task["data"]["image_id"] for task in desk.remote()]
    scores = (0.9, 0.2, 0.8, 0.3, 0.7, 0.4)
    desk.predict("run-1", *[(i, "Red", score) for i, score in zip(images, scores, strict=True)])
    desk.labelling.push_prelabels("run-1")
    assert next_image(desk, desk.studio) == images[1]
    desk.studio.annotate(desk.task(1), "Red")
    assert next_image(desk, desk.studio) == images[3]
    desk.studio.annotate(desk.task(3), "Red")
    bob.annotate(desk.task(4), "Red")
    desk.labelling.pull()
    mine = next_image(desk, desk.studio)
    his = next_image(desk, bob)
    assert (mine, his) == (images[0], images[2])  # and never the same one
    bob.annotate(desk.task(2), "Red")
    assert next_image(desk, bob) == images[5]


def test_a_share_of_images_has_several_answers(make_desk: MakeDesk) -> None:
    """The server asks for two answers on half of the images, those pushed later too."""
    desk = reopened(make_desk(10), overlap="2", overlap_share="0.5")
    desk.labelling.start()
    desk.labelling.push(6)
    desk.labelling.push()
    assert sorted(task["overlap"] for task in desk.remote()) == [1] * 5 + [2] * 5


def test_the_next_push_asks_for_as_many_answers_as_are_set(make_desk: MakeDesk) -> None:
    """The number may be changed while people label: tasks that are out follow, too."""
    desk = make_desk(2)
    desk.labelling.push(1)
    again = reopened(desk, overlap="3")
    again.labelling.pull()
    assert again.labelling.push().created == 1
    assert [task["overlap"] for task in again.remote()] == [3, 3]


def test_a_hidden_prelabel_is_not_shown_and_still_compared(make_desk: MakeDesk) -> None:
    """Nothing is chosen on a hidden task, it keeps its place in the queue, and what people say is set beside it."""
    desk = reopened(make_desk(4), hidden="1")
    desk.labelling.push()
    images = [task["data"]["image_id"] for task in desk.remote()]
    desk.predict("run-1", *[(i, "Green", s) for i, s in zip(images, (0.9, 0.1, 0.5, 0.6), strict=True)])
    assert desk.labelling.push_prelabels("run-1") == 4
    assert [task["predictions"][0]["result"] for task in desk.remote()] == [[]] * 4
    assert next_image(desk, desk.studio) == images[1]
    assert desk.labelling.push_prelabels("run-1") == 0
    for place, said in enumerate(("Green", "Red", "Green")):
        task = desk.remote()[place]
        desk.studio.annotate(task["id"], said, parent_prediction=task["predictions"][0]["id"])
    desk.labelling.pull()
    became = [annotation.revisions[0].prelabel for annotation in desk.annotations()]
    assert became == [Prelabel.HIDDEN_SAME, Prelabel.HIDDEN_OTHER, Prelabel.HIDDEN_SAME]
    found = account(desk.project).prelabels
    assert (found.hidden.hits, found.hidden.of, found.accepted.of, found.gap) == (2, 3, 0, None)


def page(desk: Desk) -> str:
    """The labelling page on the server."""
    return str(desk.studio.ask("GET", f"/api/projects/{desk.number}/")["label_config"])


def set_page(desk: Desk, text: str) -> None:
    """Edit the labelling page, as a person does in the project's settings."""
    desk.studio.ask("PATCH", f"/api/projects/{desk.number}/", json={"label_config": text})


def test_an_edited_page_stays_and_gets_what_it_lacks(make_desk: MakeDesk) -> None:
    """A person's layout outlasts a change of classes; answers that are missing are put in; ours comes back if asked."""
    desk = make_desk(1)
    mine = page(desk).replace("gap:24px", "gap:99px").replace('<Choice value="Blue" hotkey="3"/>', "")
    set_page(desk, mine)
    desk.labelling.start()
    assert "gap:99px" in page(desk)
    assert page(desk).count('value="Blue"') == 1
    again = page(desk)
    desk.labelling.start()
    assert page(desk) == again
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Blue")
    assert desk.labelling.pull().created == 1
    desk.labelling.start(reset_page=True)
    assert page(desk) == desk.labelling.dataset().config


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('choice="single-radio"', 'choice="multiple"', "one class an image"),
        ('name="class"', 'name="kind"', 'name="class"'),
        ('value="$image"', 'value="$picture"', '<Image name="image"'),
    ],
)
def test_a_page_that_answers_cannot_be_read_from_is_refused(make_desk: MakeDesk, old: str, new: str, said: str) -> None:
    """Several classes an image, another control, another picture: one line, and the way back."""
    desk = make_desk(1)
    set_page(desk, page(desk).replace(old, new))
    with pytest.raises(LabelStudioError, match=said) as refused:
        desk.labelling.start()
    assert "--reset-page" in str(refused.value)
    desk.labelling.start(reset_page=True)
