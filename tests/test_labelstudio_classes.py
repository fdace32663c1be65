"""The classes change while people label: the page follows, and no answer is lost, doubled or misread."""

import re
from typing import Any

import pytest
from sqlalchemy import select

from curate import project as projects
from curate.classes.apply import change_classes
from curate.classes.change import Change
from curate.classes.studio import There, follow
from curate.labelling import Labelling
from db.models import AnnotationState, ChangeKind, LabellingProject, Other, Prelabel
from labeler.guide import guide
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk, free_port, result

ACTIVE, DROPPED, DELETED = AnnotationState.ACTIVE, AnnotationState.DROPPED, AnnotationState.DELETED


def change(desk: Desk, kind: str, *names: str, into: str = "", drop: bool = False, there: bool = True) -> Desk:
    """Change the classes, and let Label Studio follow unless it cannot be reached just now."""
    project, _ = change_classes(desk.project, Change(ChangeKind(kind), names, into), drop_labels=drop)
    if there:
        assert follow(project, desk.labelling.environment) is There.FOLLOWED
    project.database.close()  # opening reads the file beside SQLite: with it open twice, a process loses its locks
    project = projects.open_project(project.root)
    return Desk(project, Labelling(project, desk.labelling.environment), desk.studio)


def page(desk: Desk) -> dict[str, Any]:
    """The project's settings on the server."""
    found: dict[str, Any] = desk.studio.ask("GET", f"/api/projects/{desk.number}/")
    return found


def choices(desk: Desk) -> tuple[list[str], list[str]]:
    """What is on the page: choices that people see, and those that are there for the sake of answers that say them."""
    seen, _, unseen = page(desk)["label_config"].partition("display:none")
    shown, kept = (re.findall(r'<Choice value="([^"]*)"', part) for part in (seen, unseen))
    return [name for name in shown if name not in {other.caption for other in Other}], kept


def offered(desk: Desk) -> list[str]:
    """The classes that a person can pick."""
    return choices(desk)[0]


def hidden(desk: Desk) -> list[str]:
    """Choices that nobody sees."""
    return choices(desk)[1]


def refused_by_its_own_page(desk: Desk) -> bool:
    """Whether Label Studio's settings page would refuse to save the present page."""
    body = {"label_config": page(desk)["label_config"]}
    return not desk.studio.http.post(f"/api/projects/{desk.number}/validate/", json=body).is_success


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """Six images on the server: two said to be Red, one Green, one Blue, two open."""
    desk = make_desk(6)
    desk.labelling.push()
    for place, name in enumerate(("Red", "Red", "Green", "Blue")):
        desk.studio.annotate(desk.task(place), name)
    desk.labelling.pull()
    return desk


def said(desk: Desk) -> list[list[str]]:
    """What each answer on the server says, task by task."""
    return [a["result"][0]["value"]["choices"] for task in desk.remote() for a in task["annotations"] if a["result"]]


def test_a_merge_changes_the_page_and_no_answer(desk: Desk) -> None:
    """The page offers what is left; answers on the server are as they were, and count as the other class."""
    before = said(desk)
    merged = change(desk, "merge", "Red", into="Green")
    assert (offered(merged), hidden(merged)) == (["Green", "Blue"], ["Red"])
    assert not refused_by_its_own_page(merged)
    assert said(merged) == before
    assert sorted(merged.labels().values()) == ["Blue", "Green", "Green", "Green"]
    rows = merged.counts()
    assert merged.labelling.pull().annotations == 0
    assert merged.counts() == rows


def test_a_page_that_was_open_still_answers(desk: Desk) -> None:
    """An answer that comes under a name of old is understood, and what it said is on record."""
    renamed = change(desk, "rename", "Red", into="Crimson")
    assert offered(renamed) == ["Crimson", "Green", "Blue"]
    task = renamed.task(4)
    renamed.studio.annotate(task, "Red")
    report = renamed.labelling.pull()
    assert (report.created, report.unusable) == (1, {})
    assert renamed.labels()[renamed.image_of(task)] == "Crimson"
    revision = renamed.annotations()[-1].revisions[-1]
    assert revision.answer["result"][0]["value"] == {"choices": ["Red"]}


def test_old_answers_pulled_anew_are_the_same(desk: Desk) -> None:
    """A second person's answer brings a task back: the first one's, under the name of old, is no new revision."""
    renamed = change(desk, "rename", "Red", into="Crimson")
    first = renamed.task(0)
    renamed.studio.annotate(first, "Crimson")
    report = renamed.labelling.pull()
    assert (report.created, report.updated) == (1, 0)
    assert [len(annotation.revisions) for annotation in renamed.annotations()] == [1, 1, 1, 1, 1]
    assert renamed.labels()[renamed.image_of(first)] == "Crimson"


def test_a_removed_class_gives_its_tasks_back(desk: Desk) -> None:
    """Its answers leave the server, and stay on record here; the tasks are open, others untouched, and fill again."""
    removed = change(desk, "remove", "Red", drop=True)
    assert (offered(removed), hidden(removed)) == (["Green", "Blue"], [])
    assert [len(task["annotations"]) for task in removed.remote()] == [0, 0, 1, 1, 0, 0]
    assert [(a.state, len(a.revisions)) for a in removed.annotations()] == [(DELETED, 2)] * 2 + [(ACTIVE, 1)] * 2
    assert [a.revisions[0].answer["result"][0]["value"]["choices"] for a in removed.annotations()[:2]] == [["Red"]] * 2
    assert removed.labelling.pull().annotations == 0
    assert removed.labelling.push().created == 0
    removed.studio.annotate(removed.task(0), "Blue")
    removed.labelling.pull()
    assert sorted(removed.labels().values()) == ["Blue", "Blue", "Green"]


def test_an_answer_that_changed_meanwhile_is_not_taken_away(desk: Desk) -> None:
    """Of answers to a removed class only those go that still say it; one that somebody mended stays, and counts."""
    (mended, _) = [a for task in desk.remote()[:2] for a in task["annotations"]]
    removed = change(desk, "remove", "Red", drop=True, there=False)
    desk.studio.edit(mended["id"], "Green")
    assert removed.labelling.push().created == 0
    assert said(removed) == [["Green"], ["Green"], ["Blue"]]
    removed.labelling.pull()
    assert sorted(removed.labels().values()) == ["Blue", "Green", "Green"]


def test_a_late_answer_to_a_removed_class_is_on_record(desk: Desk) -> None:
    """It counts for nothing and is no failure; the next push gives the task back."""
    removed = change(desk, "remove", "Red", drop=True)
    task = removed.task(4)
    removed.studio.annotate(task, "Red")
    assert removed.labelling.pull().unusable == {}
    assert removed.annotations()[-1].state is DROPPED
    removed.labelling.push()
    assert removed.remote()[4]["annotations"] == []
    assert removed.annotations()[-1].state is DELETED


def test_the_command_pulls_before_it_removes(desk: Desk, cli: Cli) -> None:
    """An answer that nobody has pulled yet is a label too: removing its class is refused."""
    desk.studio.annotate(desk.task(4), "Red")
    arguments = ["--project", desk.root, "--json"]
    ran = cli("classes", "remove", "Red", *arguments, env=desk.env)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "3 answers say 'Red'" in ran.err
    told = cli("classes", "remove", "Red", "--labels", "drop", *arguments, env=desk.env, check=True).json
    assert (told["dropped"], told["label_studio"], list(told["classes"])) == (3, "followed", ["Green", "Blue"])
    assert [len(task["annotations"]) for task in desk.remote()] == [0, 0, 1, 1, 0, 0]


def test_a_server_that_is_down_follows_later(desk: Desk, cli: Cli) -> None:
    """The change is made, and says that the page waits; the next push brings it up to date."""
    file = desk.root / "curate.toml"
    settings = file.read_text()
    dead = f"http://127.0.0.1:{free_port()}"
    file.write_text(settings.replace(desk.studio.url, dead))
    with desk.project.database.write() as session:
        session.scalars(select(LabellingProject)).one().server = dead
    ran = cli("classes", "rename", "Red", "Crimson", "--project", desk.root, "--json", env=desk.env, check=True)
    assert ran.json["label_studio"] == "later"
    assert f"no Label Studio answers at {dead}" in ran.err
    with desk.project.database.write() as session:
        session.scalars(select(LabellingProject)).one().server = desk.studio.url
    file.write_text(file.read_text().replace(dead, desk.studio.url))
    assert offered(desk) == ["Red", "Green", "Blue"]
    cli("label", "push", "--project", desk.root, env=desk.env, check=True)
    assert (offered(desk), hidden(desk)) == (["Crimson", "Green", "Blue"], ["Red"])


def test_killed_before_the_page_was_noted_it_is_sent_again(desk: Desk, cli: Cli) -> None:
    """Wherever the following was cut off, the next push ends where it would have ended."""
    for fault in ("page.sent", "dropped.deleted"):
        names = ["remove", "Blue", "--labels", "drop"] if fault == "dropped.deleted" else ["rename", "Red", "Crimson"]
        killed = cli("classes", *names, "--project", desk.root, env=desk.env | {"CURATE_FAULT": fault})
        assert killed.code == -9
        cli("label", "push", "--project", desk.root, env=desk.env, check=True)
    assert (offered(desk), hidden(desk)) == (["Crimson", "Green"], ["Red"])
    cli("label", "pull", "--project", desk.root, env=desk.env, check=True)
    assert [len(task["annotations"]) for task in desk.remote()] == [1, 1, 1, 0, 0, 0]
    assert sorted(desk.labels().values()) == ["Crimson", "Crimson", "Green"]


def shown(desk: Desk) -> list[list[str]]:
    """The classes that the predictions on the server name, task by task."""
    return [[p["result"][0]["value"]["choices"][0] for p in task["predictions"]] for task in desk.remote()]


def test_prelabels_follow(make_desk: MakeDesk) -> None:
    """Those of a run with the old list are shown as what they count as; of a removed class none is."""
    desk = make_desk(3)
    desk.predict("run-1", *zip(desk.images(), ("Red", "Green", "Blue"), (0.9, 0.8, 0.7), strict=True))
    desk.labelling.push()
    order = [task["data"]["image_id"] for task in desk.remote()]
    by_image = dict(zip(desk.images(), ("Red", "Green", "Blue"), strict=True))
    assert shown(desk) == [[by_image[image]] for image in order]
    desk = change(desk, "rename", "Red", into="Crimson")
    by_image = {image: {"Red": "Crimson"}.get(name, name) for image, name in by_image.items()}
    assert shown(desk) == [[by_image[image]] for image in order]
    task = desk.remote()[order.index(next(image for image, name in by_image.items() if name == "Crimson"))]
    desk.studio.annotate(task["id"], "Red", parent_prediction=task["predictions"][0]["id"])
    desk.labelling.pull()
    assert [a.revisions[-1].prelabel for a in desk.annotations()] == [Prelabel.ACCEPTED]
    desk = change(desk, "remove", "Blue")
    desk = change(change(desk, "add", "Pink"), "merge", "Pink", into="Green")
    assert sorted(name for names in shown(desk) for name in names) == ["Green"]  # the other is labelled


def test_a_hidden_choice_is_never_picked_unasked(make_desk: MakeDesk) -> None:
    """A choice that is kept for old answers has no key of its own that a keyboard has."""
    desk = make_desk(2)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red")
    renamed = change(desk, "rename", "Red", into="Crimson")
    config = page(renamed)["label_config"]
    assert re.findall(r'value="Red" hotkey="([^"]*)"', config) == ["ctrl+alt+shift+f19"]
    assert "Red counts as Crimson now" in config


def test_the_page_stays_ours(desk: Desk, cli: Cli) -> None:
    """With hidden choices it is no page that somebody edited: nothing is said of it, and nothing sent again."""
    renamed = change(desk, "rename", "Red", into="Crimson")
    before = page(renamed)
    ran = cli("label", "start", "--project", renamed.root, env=renamed.env, check=True)
    assert "edited" not in ran.err
    assert page(renamed) == before
    again = change(renamed, "rename", "Crimson", into="Red")
    assert (offered(again), hidden(again)) == (["Red", "Green", "Blue"], [])


def test_a_page_that_a_person_edited_follows(desk: Desk) -> None:
    """What was added by hand stays; a class that was merged can no longer be picked, a new one can."""
    edited = page(desk)["label_config"].replace("<View ", '<View><Header value="Look twice"/></View><View ', 1)
    edited = f"<View>{edited}</View>"
    desk.studio.ask("PATCH", f"/api/projects/{desk.number}/", json={"label_config": edited})
    merged = change(change(desk, "merge", "Red", into="Green"), "add", "Pink")
    assert (offered(merged), hidden(merged)) == (["Green", "Blue", "Pink"], ["Red"])
    assert "Look twice" in page(merged)["label_config"]
    assert not refused_by_its_own_page(merged)


def test_drafts_and_skips_keep_their_choice(make_desk: MakeDesk) -> None:
    """What is begun and not handed in yet, or was skipped with a choice, is whole after the change."""
    desk = make_desk(3)
    desk.labelling.push()
    desk.studio.annotate(desk.task(0), "Blue")
    desk.studio.ask("POST", f"/api/tasks/{desk.task(1)}/drafts", json={"result": result("Red"), "lead_time": 1})
    desk.studio.annotate(desk.task(2), "Green", was_cancelled=True)
    desk = change(change(desk, "merge", "Red", into="Blue"), "add", "Pink")
    desk = change(desk, "remove", "Green")
    assert (offered(desk), hidden(desk)) == (["Blue", "Pink"], ["Green", "Red"])
    assert not refused_by_its_own_page(desk)
    (draft,) = desk.studio.ask("GET", f"/api/tasks/{desk.task(1)}/drafts")
    assert draft["result"][0]["value"]["choices"] == ["Red"]


def test_the_guide_is_kept_as_it_was_sent(make_desk: MakeDesk) -> None:
    """Label Studio takes nothing out of it, so a second start has nothing to send; a person's own guide stays."""
    desk = make_desk(1, 'R&B "n" more', "Green")
    dataset, path = desk.labelling.dataset(), f"/api/projects/{desk.number}/"
    sent = guide(list(dataset.classes), dataset.hotkeys)
    assert desk.studio.ask("GET", path)["expert_instruction"] == sent
    assert "<b>Green</b>" in sent
    desk.studio.ask("PATCH", path, json={"expert_instruction": "<p>mine</p>"})
    desk.labelling.start()
    assert desk.studio.ask("GET", path)["expert_instruction"] == "<p>mine</p>"
