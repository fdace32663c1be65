"""`--dry-run` of push and pull: the difference is told, and nothing is changed on either side."""

from typing import Any

from curate.forget import forget
from curate.labelling import Labelling
from curate.studio import Environment
from tests import prepare
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk


def remote(desk: Desk) -> list[Any]:
    """Everything on the server that a command could change."""
    return [desk.remote(), desk.studio.ask("GET", f"/api/projects/{desk.number}/")]


def test_a_dry_push_tells_what_it_would_do(make_desk: MakeDesk, cli: Cli) -> None:
    """Tasks that would be made, deleted and pre-labelled are listed; the push that follows does just that."""
    desk = make_desk(5)
    desk.labelling.push(2)
    images = desk.images()
    sent = sorted(task["data"]["image_id"] for task in desk.remote())
    away = Labelling(desk.project, Environment(prepare.cache(), None))
    forget(desk.project, str(sent[0]), away)
    desk.predict("run-1", *[(image, "Red", 0.5) for image in images if image != sent[0]])
    before = (remote(desk), desk.counts())
    found = cli("label", "push", "--dry-run", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (remote(desk), desk.counts()) == before
    new = sorted(set(images) - set(sent))
    assert (found["dry_run"], found["created"], found["withdrawn"], found["prelabelled"]) == (True, 3, 1, 4)
    assert sorted(found["images"]["created"]) == new
    assert found["images"]["withdrawn"] == sent[:1]
    assert sorted(found["images"]["prelabelled"]) == sorted([sent[1], *new])
    done = desk.labelling.push()
    assert (done.created, done.prelabelled, done.tasks) == (3, 4, 4)
    again = cli("label", "push", "--dry-run", "--project", desk.root, env=desk.env, check=True)
    assert again.out == "0 tasks would be made\n0 pre-labels would be sent\n"


def test_a_dry_push_counts_what_a_killed_one_left(make_desk: MakeDesk, cli: Cli) -> None:
    """Tasks whose making was not confirmed are found, not made again."""
    desk = make_desk(3)
    cli("label", "push", "--project", desk.root, env=desk.env | {"CURATE_FAULT": "push.sent"})
    before = desk.counts()
    found = cli("label", "push", "--dry-run", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (found["created"], found["found"], desk.counts()) == (0, 3, before)


def test_a_dry_pull_tells_every_answer_that_would_come(make_desk: MakeDesk, cli: Cli) -> None:
    """New, changed and deleted answers, each with what stands now and what would; the pull that follows brings them."""
    desk = make_desk(4)
    desk.labelling.push()
    first, second, third, fourth = (task["id"] for task in desk.remote())
    kept, gone = desk.studio.annotate(first, "Red"), desk.studio.annotate(second, "Blue")
    desk.labelling.pull()
    desk.studio.edit(kept, "Green")
    desk.studio.delete("annotations", gone)
    desk.studio.annotate(third, "Red")
    desk.studio.annotate(fourth, "Red", was_cancelled=True)
    before = (remote(desk), desk.counts(), desk.labels())
    found = cli("label", "pull", "--dry-run", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (remote(desk), desk.counts(), desk.labels()) == before
    told = {(c["image"], c["what"], c["before"], c["after"]) for c in found["changes"]}
    assert told == {
        (desk.image_of(first), "changed", "Red", "Green"),
        (desk.image_of(second), "deleted", "Blue", None),
        (desk.image_of(third), "new", None, "Red"),
        (desk.image_of(fourth), "new", None, "skipped"),
    }
    assert {change["project"] for change in found["changes"]} == {desk.number}
    counts = (found["created"], found["updated"], found["deleted"], found["stops"])
    shown = cli("label", "pull", "--dry-run", "--project", desk.root, env=desk.env, check=True)
    assert shown.out.startswith("2 new answers, 1 changed, 1 deleted would come in\n")
    done = desk.labelling.pull()
    assert counts == (done.created, done.updated, done.deleted, False) == (2, 2, 1, False)
    last = cli("label", "pull", "--dry-run", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert last["changes"] == []


def test_a_dry_pull_says_that_it_would_ask(make_desk: MakeDesk, cli: Cli) -> None:
    """Where so much is gone that a pull stops, the dry run says so and ends well."""
    desk = make_desk(21)
    desk.labelling.push()
    for task in desk.remote():
        desk.studio.annotate(task["id"], "Red")
    desk.labelling.pull()
    desk.studio.delete_all(desk.number, "delete_tasks_annotations")
    found = cli("label", "pull", "--dry-run", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (found["deleted"], found["stops"]) == (21, True)
    desk.studio.delete_all(desk.number, "delete_tasks")
    found = cli("label", "pull", "--dry-run", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (found["tasks_gone"], found["stops"], len(desk.labels())) == (21, True, 21)
