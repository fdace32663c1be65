"""Pictures that stand twice on the server: of a request that was served late, or because somebody made a copy."""

from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk


def test_a_request_that_is_served_late_leaves_no_double(make_desk: MakeDesk, cli: Cli) -> None:
    """Sent again because nothing was heard of it, and then served after all: one task an image, answers kept."""
    desk = make_desk(3)
    cli("label", "push", "--project", desk.root, env=desk.env | {"CURATE_FAULT": "push.announced"})
    desk.labelling.push()
    data = [task["data"] for task in desk.studio.ask("GET", "/api/tasks", params=as_sent(desk))["tasks"]]
    late = desk.studio.ask(
        "POST",
        f"/api/projects/{desk.number}/import",
        params={"return_task_ids": "true"},
        json=[{"data": d} for d in data],
    )["task_ids"]
    desk.studio.annotate(late[0], "Red")
    report = desk.labelling.pull()
    assert (report.created, report.doubled, list(desk.labels().values())) == (1, 0, ["Red"])
    assert len({task["data"]["image_id"] for task in desk.remote()}) == len(desk.remote()) == 3
    before = desk.counts()
    assert (desk.labelling.push().created, desk.labelling.pull().annotations, desk.counts()) == (0, 0, before)


def as_sent(desk: Desk) -> dict[str, object]:
    """Parameters that give tasks as they were sent."""
    return {"project": desk.number, "resolve_uri": "false", "include": "id,data"}


def test_doubles_that_were_answered_twice_become_one_task(make_desk: MakeDesk) -> None:
    """Both answers stay, at one task, and the later counts."""
    desk = make_desk(1)
    desk.labelling.push()
    (task,) = desk.studio.ask("GET", "/api/tasks", params=as_sent(desk))["tasks"]
    desk.studio.ask("POST", f"/api/projects/{desk.number}/import", json=[{"data": task["data"]}])
    desk.studio.annotate(task["id"], "Red")
    desk.studio.annotate(desk.task(1), "Blue")
    report = desk.labelling.pull()
    assert (report.created, report.doubled, list(desk.labels().values())) == (2, 0, ["Blue"])
    assert [len(task["annotations"]) for task in desk.remote()] == [2]
    before = desk.counts()
    assert (desk.labelling.pull().annotations, desk.labelling.push().created, desk.counts()) == (0, 0, before)


def test_a_copy_that_people_added_to_is_left_alone(make_desk: MakeDesk) -> None:
    """It is neither deleted nor read; once it is answered, the pull says so, until one of the two is gone."""
    desk = make_desk(1)
    desk.labelling.push()
    (task,) = desk.studio.ask("GET", "/api/tasks", params=as_sent(desk))["tasks"]
    copy = {"data": task["data"] | {"note": "look at the head"}}
    desk.studio.ask("POST", f"/api/projects/{desk.number}/import", json=[copy])
    assert (desk.labelling.pull().doubled, len(desk.remote())) == (0, 2)
    desk.studio.annotate(task["id"], "Red")
    desk.studio.annotate(desk.task(1), "Blue")
    assert (desk.labelling.pull().doubled, list(desk.labels().values()), len(desk.remote())) == (1, ["Red"], 2)
    desk.studio.delete("tasks", task["id"])
    report = desk.labelling.pull()
    assert (report.doubled, report.created, list(desk.labels().values()), len(desk.remote())) == (0, 1, ["Blue"], 1)
