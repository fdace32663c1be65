"""`curate label push`: each unlabelled image is one task, however often and wherever the push is broken off."""

from collections.abc import Sequence

import httpx
import pytest
from sqlalchemy import select

from curate.ingest.folder import import_folder
from curate.select import choose
from db.errors import LabelStudioError
from db.models import LabellingTask, TaskState
from labeler.client import Server
from tests.conftest import Cli
from tests.labelstudio import MakeDesk, Studio
from tests.pictures import encoded, jpeg, picture, write_folder


def test_every_unlabelled_image_is_one_task_in_order(make_desk: MakeDesk) -> None:
    """Tasks stand in the order in which images should be labelled; a second push changes nothing."""
    desk = make_desk(7)
    wanted = [choice.id for choice in choose(desk.project, 7)]
    first = desk.labelling.push()
    assert (first.created, first.found, first.tasks) == (7, 0, 7)
    assert [task["data"]["image_id"] for task in desk.remote()] == wanted
    before = desk.counts()
    second = desk.labelling.push()
    assert (second.created, second.found, second.tasks, len(desk.remote())) == (0, 0, 7, 7)
    assert desk.counts() == before
    with desk.project.database.read() as session:
        assert set(session.scalars(select(LabellingTask.state))) == {TaskState.THERE}


def test_labelled_images_and_spare_copies_are_not_sent(make_desk: MakeDesk) -> None:
    """Only what lacks a label becomes a task."""
    desk = make_desk(2)
    import_folder(desk.project, write_folder(desk.root.parent / "more", {"Red": range(3)}), labels=True)
    assert desk.labelling.push().created == 2
    assert {task["data"]["image_id"] for task in desk.remote()}.isdisjoint(desk.labels())


def test_a_limit_sends_the_most_wanted_first(make_desk: MakeDesk) -> None:
    """`--limit N` makes N tasks at most, and the next push goes on after them."""
    desk = make_desk(5)
    order = [choice.id for choice in choose(desk.project, 5)]
    assert desk.labelling.push(2).created == 2
    assert [task["data"]["image_id"] for task in desk.remote()] == order[:2]
    assert desk.labelling.push(2).created == 2
    assert desk.labelling.push().created == 1
    assert [task["data"]["image_id"] for task in desk.remote()] == order


def test_a_server_elsewhere_is_sent_the_files(make_desk: MakeDesk, studio: Studio) -> None:
    """Images are uploaded byte for byte, each once; a format that it refuses goes as PNG. A login is needed to see."""
    desk = make_desk(2)
    more = desk.root.parent / "more"
    more.mkdir()
    for image_format in ("PNG", "WEBP", "GIF", "AVIF"):
        (more / f"x.{image_format.lower()}").write_bytes(encoded(picture(50 + len(image_format)), image_format))
    import_folder(desk.project, more, labels=False)
    desk.labelling.push()
    stored = {path.read_bytes() for path in desk.project.store.files()}
    shown = [studio.http.get(task["data"]["image"]) for task in desk.remote()]
    assert {answer.headers["content-type"] for answer in shown} >= {"image/jpeg", "image/png", "image/webp"}
    assert len(stored & {answer.content for answer in shown}) == len(shown) - 1
    uploads = studio.ask("GET", f"/api/projects/{desk.number}/file-uploads", params={"all": "true"})
    assert len(uploads) == len(shown)
    assert httpx.get(studio.url + desk.remote()[0]["data"]["image"], trust_env=False).status_code in {401, 403, 302}


def test_large_files_go_in_several_requests(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the files are together, no request comes near to what the server refuses, and all arrive."""
    desk = make_desk(2)
    more = desk.root.parent / "more"
    more.mkdir()
    for seed in range(50, 56):
        (more / f"{seed}.jpg").write_bytes(_padded(jpeg(seed), 24_000_000))
    assert import_folder(desk.project, more, labels=False).stored == 6
    sizes: list[int] = []
    upload = Server.upload

    def noted(self: Server, project: int, files: Sequence[tuple[str, bytes, str]]) -> list[str]:
        sizes.append(sum(len(data) for _, data, _ in files))
        return upload(self, project, files)

    monkeypatch.setattr(Server, "upload", noted)
    desk.labelling.push()
    assert (len(desk.remote()), len(sizes)) == (8, 2)
    assert max(sizes) <= 100_000_000


def _padded(data: bytes, size: int) -> bytes:
    """A JPEG of about `size` bytes, by comments."""
    comment = b"\xff\xfe\xff\xff" + bytes(0xFFFD)
    return data[:2] + comment * (size // len(comment)) + data[2:]


@pytest.mark.parametrize(("point", "found"), [("push.announced", 0), ("push.sent", 5)])
def test_a_killed_push_is_finished_by_the_next(make_desk: MakeDesk, cli: Cli, point: str, found: int) -> None:
    """Killed before the tasks were sent, or after and before the reply was noted: each image is one task in the end."""
    desk = make_desk(5)
    killed = cli("label", "push", "--project", desk.root, env=desk.env | {"CURATE_FAULT": point})
    assert killed.code == -9
    again = desk.labelling.push()
    assert (again.created, again.found, again.tasks) == (5 - found, found, 5)
    assert len({task["data"]["image_id"] for task in desk.remote()}) == len(desk.remote()) == 5
    before = desk.counts()
    assert desk.labelling.push().created == 0
    assert desk.counts() == before


def test_a_task_deleted_there_is_not_made_again(make_desk: MakeDesk) -> None:
    """Who deletes a task in Label Studio does not want to see that picture."""
    desk = make_desk(3)
    desk.labelling.push()
    desk.studio.delete("tasks", desk.task())
    assert desk.labelling.pull().tasks_gone == 1
    again = desk.labelling.push()
    assert (again.created, again.tasks, len(desk.remote())) == (0, 2, 2)


def test_without_a_project_the_way_to_one_is_told(make_desk: MakeDesk, cli: Cli) -> None:
    """A push before the first start names the command that is missing."""
    desk = make_desk(1, start=False)
    ran = cli("label", "push", "--project", desk.root, env=desk.env)
    assert (ran.code, ran.out) == (2, "")
    assert "make it with `curate label start`" in ran.err
    with pytest.raises(LabelStudioError, match="no project"):
        desk.labelling.pull()


@pytest.mark.parametrize("noticed", [True, False])
def test_a_number_that_is_given_out_again(make_desk: MakeDesk, noticed: bool) -> None:
    """On SQLite the server numbers a new task as its last one that was deleted: answers are never mixed up."""
    desk = make_desk(3)
    desk.labelling.push(2)
    number = desk.task(1)
    first = desk.image_of(number)
    desk.studio.annotate(number, "Red")
    desk.labelling.pull()
    desk.studio.delete("tasks", number)
    if noticed:
        desk.labelling.pull()
    assert desk.labelling.push().created == 1
    assert desk.task(1) == number
    second = desk.image_of(number)
    desk.studio.annotate(number, "Green")
    desk.labelling.pull()
    assert desk.labels() == {first: "Red", second: "Green"}
