"""Several Label Studio projects on one dataset: each hands out its share, and all answers count together."""

import pytest

from curate.handout import Which
from curate.permission import Permission
from db.errors import LabelStudioError
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk


def number(desk: Desk, name: str) -> int:
    """Number of a further project on the server."""
    return next(one.project for one in desk.labelling.status().projects if one.name == name)


def shown(desk: Desk, project: int) -> list[int]:
    """Images that a project has tasks for."""
    return sorted(task["data"]["image_id"] for task in desk.studio.tasks(project))


def test_a_further_project_gets_what_waits_nowhere_else(make_desk: MakeDesk, cli: Cli) -> None:
    """Two teams share the work: no picture is handed out twice, unless that is asked for; status shows both."""
    desk = make_desk(6)
    made = cli("label", "start", "--project-name", "team b", "--json", "--project", desk.root, env=desk.env, check=True)
    other = number(desk, "team b")
    assert made.json["project"] == desk.number != other
    title = desk.studio.ask("GET", f"/api/projects/{other}/")["title"]
    assert title == "project: team b"
    desk.labelling.push(4)
    sent = cli("label", "push", "--project-name", "team b", "--json", "--project", desk.root, env=desk.env, check=True)
    assert (sent.json["created"], sent.json["tasks"]) == (2, 2)
    assert sorted(shown(desk, desk.number) + shown(desk, other)) == desk.images()
    told = cli("label", "status", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (told["project"], told["tasks"]) == (desk.number, 4)
    assert told["projects"] == [
        {"name": "", "project": desk.number, "tasks": 4},
        {"name": "team b", "project": other, "tasks": 2},
    ]
    more = cli(
        "label", "push", "--project-name", "team b", "--overlap", "--project", desk.root, env=desk.env, check=True
    )
    assert more.out.startswith("4 tasks made")
    assert shown(desk, other) == desk.images()
    assert desk.labelling.push().created == 0
    again = desk.labelling.start(name="team b")
    assert [one.project for one in again.projects] == [desk.number, other]


def test_answers_of_all_projects_count_together(make_desk: MakeDesk) -> None:
    """A pull takes from each; of one image's answers in both the latest decides, and a deletion gives way."""
    desk = make_desk(2)
    desk.labelling.start(name="experts")
    experts = number(desk, "experts")
    desk.labelling.push()
    desk.labelling.push(name="experts", which=Which.ALL)
    ours = {task["data"]["image_id"]: task["id"] for task in desk.remote()}
    theirs = {task["data"]["image_id"]: task["id"] for task in desk.studio.tasks(experts)}
    first, second = desk.images()
    desk.studio.annotate(ours[first], "Red")
    answer = desk.studio.annotate(theirs[first], "Green")
    desk.studio.annotate(theirs[second], "Blue")
    assert desk.labelling.pull().created == 3
    assert desk.labels() == {first: "Green", second: "Blue"}
    desk.studio.delete("annotations", answer)
    report = desk.labelling.pull()
    assert (report.updated, report.deleted, desk.labels()) == (1, 1, {first: "Red", second: "Blue"})
    before = desk.counts()
    assert desk.labelling.pull().annotations == 0
    assert desk.counts() == before


def test_hard_pictures_go_to_the_experts(make_desk: MakeDesk, cli: Cli) -> None:
    """`--skipped` hands on what somebody skipped and nobody labelled, each once."""
    desk = make_desk(4)
    desk.labelling.start(name="experts")
    desk.labelling.push()
    first, second, third, _ = desk.remote()
    desk.studio.annotate(first["id"], "Red", was_cancelled=True)
    desk.studio.annotate(second["id"], "Red", was_cancelled=True)
    desk.studio.annotate(second["id"], "Green")
    desk.studio.annotate(third["id"], "Green")
    desk.labelling.pull()
    command = ("label", "push", "--skipped", "--project-name", "experts", "--project", desk.root)
    assert cli(*command, env=desk.env, check=True).out.startswith("1 tasks made")
    assert shown(desk, number(desk, "experts")) == [first["data"]["image_id"]]
    assert cli(*command, env=desk.env, check=True).out.startswith("0 tasks made")


def test_prelabels_go_to_each(make_desk: MakeDesk) -> None:
    """Every task of an image shows its prediction, in whichever project, and shows it once."""
    desk = make_desk(2)
    desk.labelling.start(name="experts")
    experts = number(desk, "experts")
    desk.labelling.push()
    desk.labelling.push(name="experts", which=Which.ALL)
    desk.predict("run-1", *[(image, "Red", 0.5) for image in desk.images()])
    assert desk.labelling.push_prelabels("run-1") == 4
    assert desk.labelling.push_prelabels("run-1") == 0
    tasks = [*desk.remote(), *desk.studio.tasks(experts)]
    assert [len(task["predictions"]) for task in tasks] == [1, 1, 1, 1]


def test_a_further_project_that_was_deleted_stops_nothing(make_desk: MakeDesk, cli: Cli) -> None:
    """The others go on, each pull says so, and a start asks before it makes a new one."""
    desk = make_desk(2)
    desk.labelling.start(name="experts")
    desk.labelling.push()
    desk.studio.delete("projects", number(desk, "experts"))
    desk.studio.annotate(desk.task(), "Red")
    pulled = cli("label", "pull", "--project", desk.root, env=desk.env, check=True).out
    assert pulled.startswith("1 new answers")
    assert "the project 'experts' was deleted in Label Studio" in pulled
    with pytest.raises(LabelStudioError, match="--project-name experts --new-project"):
        desk.labelling.start(name="experts")
    with pytest.raises(LabelStudioError, match=r"no longer has project .*--project-name experts --new-project"):
        desk.labelling.push(name="experts")
    assert desk.labelling.start(name="experts", may=Permission(given=True)).project == desk.number
    assert desk.labelling.pull().projects_gone == []


@pytest.mark.parametrize("name", ["x" * 31, "\n", " "])
def test_a_name_that_cannot_be_is_told(make_desk: MakeDesk, name: str) -> None:
    """Nothing is made for it."""
    desk = make_desk(1, start=False)
    with pytest.raises(LabelStudioError, match="is no name for a project"):
        desk.labelling.start(name=name)
    with pytest.raises(LabelStudioError, match="no project"):
        desk.labelling.push()


def test_an_unknown_name_is_told(make_desk: MakeDesk, cli: Cli) -> None:
    """The line says which there are."""
    desk = make_desk(1)
    desk.labelling.start(name="experts")
    ran = cli("label", "push", "--project-name", "expert", "--project", desk.root, env=desk.env)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "no project 'expert'" in ran.err
    assert "there is: experts" in ran.err
