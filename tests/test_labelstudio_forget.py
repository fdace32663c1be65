"""`curate forget` and Label Studio: the tasks go too, now or when the server next answers, and nothing comes back."""

import pytest
from sqlalchemy import select

from curate.forget import Tasks, forget
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.studio import Environment
from db.models import LabellingTask, TaskState
from labeler.page import pictures
from tests import prepare
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk, Studio
from tests.pictures import write_folder
from tests.relay import relay
from tests.test_kill import KILLED
from tests.test_labelstudio_faults import at
from tests.test_labelstudio_people import page, set_page


def states(desk: Desk, image: int) -> list[TaskState]:
    """How an image's tasks stand."""
    with desk.project.database.read() as session:
        return list(session.scalars(select(LabellingTask.state).where(LabellingTask.image_id == image)))


def there(desk: Desk) -> set[int]:
    """Images that have a task on the server."""
    return {task["data"]["image_id"] for task in desk.remote()}


def test_its_task_and_its_upload_are_deleted_on_the_server(make_desk: MakeDesk, cli: Cli) -> None:
    """At once where the server answers. Nothing is asked about it later, no label comes back and no task is made."""
    desk = make_desk(3)
    desk.labelling.push()
    image = desk.image_of(desk.task())
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    desk.predict("run", (image, "Red", 0.9))
    found = cli("forget", image, "--json", "--project", desk.root, env=desk.env, check=True).json
    assert (found["label_studio"], states(desk, image), desk.counts()["predictions"]) == ("deleted", ["gone"], 0)
    assert (len(there(desk)), image in there(desk), desk.labels()) == (2, False, {})
    uploads = desk.studio.ask("GET", f"/api/projects/{desk.number}/file-uploads", params={"all": "true"})
    assert len(uploads) == 2
    pulled, pushed = desk.labelling.pull(), desk.labelling.push()
    assert (pulled.annotations, pulled.tasks_gone, pushed.created, pushed.tasks) == (0, 0, 0, 2)
    assert forget(desk.project, str(image), desk.labelling).label_studio is Tasks.DELETED


@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_task_waits_for_a_server_that_is_away(make_desk: MakeDesk, cli: Cli, studio: Studio, command: str) -> None:
    """The next push or pull deletes it, with the answers given meanwhile: more of them than may vanish unasked."""
    with relay(studio.url) as between:
        desk = at(make_desk(24, start=False), between.url)
        desk.labelling.start()
        desk.labelling.push()
        for number in [task["id"] for task in desk.remote()][:22]:
            desk.studio.annotate(number, "Red")
        between.faults["*", ""] = 503
        first, *others = desk.images()[:22]
        ran = cli("forget", first, "--json", "--project", desk.root, env=desk.env)
        assert (ran.code, ran.json["label_studio"], states(desk, first)) == (0, "waiting", ["there"])
        assert f"Label Studio at {between.url} answered 503" in ran.err
        away = Labelling(desk.project, Environment(prepare.cache(), None))
        assert {forget(desk.project, str(image), away).label_studio for image in others} == {Tasks.WAITING}
        between.faults.clear()
        getattr(desk.labelling, command)()
        left = desk.images()[22:]
        assert (there(desk), states(desk, first)) == (set(left), ["gone"])
        assert set(desk.labels()) <= set(left)
        desk.project.database.close()


def drawn(desk: Desk) -> dict[str, str]:
    """The example of each class, as it is now."""
    return dict(desk.labelling.dataset().drawn)


@pytest.fixture
def examples(make_desk: MakeDesk) -> Desk:
    """Labelled by their folders: two images of Red and one of Green, which stand as examples on the page."""
    desk = make_desk(1, start=False)
    import_folder(
        desk.project, write_folder(desk.root.parent / "known", {"Red": range(2), "Green": range(1)}), labels=True
    )
    desk.labelling.start()
    assert pictures(page(desk)) == set(drawn(desk).values())
    return desk


@pytest.mark.parametrize("edited", [False, True])
def test_an_example_gives_way_to_another_or_to_the_bare_name(examples: Desk, cli: Cli, edited: bool) -> None:
    """Also on a page that a person has edited, of which all else stays as it is."""
    desk = examples
    if edited:
        set_page(desk, page(desk).replace("gap:24px", "gap:99px"))
    before = drawn(desk)
    for name in ("Red", "Green"):
        image = next(number for number, label in sorted(desk.labels().items()) if label == name)
        found = cli("forget", image, "--json", "--project", desk.root, env=desk.env, check=True).json
        assert (found["label_studio"], before[name] in page(desk)) == ("none", False)
    assert drawn(desk).keys() == {"Red"}
    assert pictures(page(desk)) == set(drawn(desk).values())
    assert ("gap:99px" in page(desk), 'value="Green"' in page(desk)) == (edited, True)


def test_an_example_waits_for_a_server_that_is_away(examples: Desk) -> None:
    """The next push takes it from the page; until then it is told to wait, however often that is asked."""
    desk = examples
    before, number = drawn(desk)["Red"], min(desk.labels())
    away = Labelling(desk.project, Environment(prepare.cache(), None))
    for _ in range(2):
        assert forget(desk.project, str(number), away).label_studio is Tasks.WAITING
    assert before in page(desk)
    assert desk.labelling.push().created == 1
    assert pictures(page(desk)) == set(drawn(desk).values())
    assert forget(desk.project, str(number), away).label_studio is Tasks.NONE


def test_a_killed_withdrawal_is_finished_by_the_next_pull(make_desk: MakeDesk, cli: Cli) -> None:
    """Deleted there and not noted here: what is gone already is no error."""
    desk = make_desk(2)
    desk.labelling.push()
    image = desk.image_of(desk.task())
    ran = cli("forget", image, "--project", desk.root, env=desk.env | {"CURATE_FAULT": "withdraw.deleted"})
    assert (ran.code, states(desk, image), len(there(desk))) == (KILLED, ["there"], 1)
    assert desk.labelling.pull().tasks_gone == 0
    assert states(desk, image) == ["gone"]


@pytest.mark.parametrize("point", ["push.announced", "push.sent"])
def test_a_task_of_a_killed_push_is_not_sent_later(make_desk: MakeDesk, cli: Cli, point: str) -> None:
    """Whether it had reached the server or not, the next push leaves none there."""
    desk = make_desk(2)
    cli("label", "push", "--project", desk.root, env=desk.env | {"CURATE_FAULT": point})
    image = desk.images()[0]
    assert forget(desk.project, str(image), desk.labelling).label_studio is Tasks.WAITING
    desk.labelling.push()
    assert (states(desk, image), there(desk)) == (["gone"], set(desk.images()) - {image})
