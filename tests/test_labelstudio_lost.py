"""What people and mishaps do behind our back: projects deleted, servers reset or put back, copies, late requests."""

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from curate.forget import forget
from curate.labelling import Labelling
from curate.permission import Permission
from curate.studio import Environment
from db.errors import LabelStudioError
from db.models import Annotation, AnnotationState, LabellingProject, LabellingTask, TaskState
from labeler import client
from tests import prepare
from tests.conftest import Cli
from tests.environment import clean_env
from tests.labelstudio import Desk, MakeDesk, Studio
from tests.relay import relay
from tests.test_labelstudio_doubles import as_sent
from tests.test_labelstudio_faults import at


def rows(desk: Desk) -> list[LabellingProject]:
    """Projects on record."""
    with desk.project.database.read() as session:
        found = list(session.scalars(select(LabellingProject).order_by(LabellingProject.id)))
        session.expunge_all()
    return found


def test_a_start_does_not_replace_a_deleted_project_unasked(make_desk: MakeDesk, cli: Cli) -> None:
    """Without a person at a terminal it ends with 2 and names the option; nothing is made and no label is lost."""
    desk = make_desk(2)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    desk.studio.delete("projects", desk.number)
    before = (desk.counts(), len(desk.studio.ask("GET", "/api/projects/")["results"]))
    ran = cli("label", "start", "--project", desk.root, env=desk.env)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "no longer has project" in ran.err
    assert "`curate label start --new-project` makes a new project in its place" in ran.err
    assert (desk.counts(), len(desk.studio.ask("GET", "/api/projects/")["results"])) == before
    made = cli("label", "start", "--new-project", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert made["project"] == desk.number
    assert [row.gone_at is None for row in rows(desk)] == [False, True]
    assert (desk.labelling.push().created, list(desk.labels().values())) == (1, ["Red"])


@pytest.mark.parametrize(("said", "code", "projects"), [("n", 2, 1), ("y", 0, 2)])
def test_at_a_terminal_a_start_asks(make_desk: MakeDesk, said: str, code: int, projects: int) -> None:
    """`y` makes a new project; anything else leaves all as it is, and ends with 2."""
    desk = make_desk(1)
    desk.studio.delete("projects", desk.number)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "curate", "label", "start", "--project", str(desk.root)]
    with subprocess.Popen(command, env=clean_env() | desk.env, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        out = b""
        while b"[y/N]" not in out:
            out += os.read(master, 4096)
        os.write(master, f"{said}\n".encode())
        while process.poll() is None:
            try:
                out += os.read(master, 4096)
            except OSError:  # the other end is closed
                break
    os.close(master)
    assert b"no longer has project" in out
    assert (process.returncode, len(rows(desk))) == (code, projects)


def test_a_number_that_another_project_got_is_not_ours(make_desk: MakeDesk) -> None:
    """After a server was reset, a project of another dataset may have the number: nothing is sent there or taken."""
    desk, other = make_desk(3), make_desk(3, name="other")
    desk.labelling.push()
    other.labelling.push()
    other.studio.annotate(other.task(), "Red")
    number = other.number
    desk.studio.delete("projects", desk.number)
    with other.project.database.write() as session:  # so that both may have the number
        session.scalars(select(LabellingProject)).one().number = 10**6
    desk.note_project_number(number)
    before = (desk.studio.tasks(number), desk.counts())
    for command in (desk.labelling.push, desk.labelling.pull):
        with pytest.raises(LabelStudioError, match=r"3 of 3 tasks are no longer .*`curate label start` asks"):
            command()
    with pytest.raises(LabelStudioError, match="holds none of the 3 tasks"):
        desk.labelling.start()
    assert (desk.studio.tasks(number), desk.counts()) == before
    assert desk.labelling.start(may=Permission(given=True)).project != number
    assert desk.labelling.push().created == 3


def test_a_server_whose_folder_is_gone_is_not_replaced_unasked(make_desk: MakeDesk) -> None:
    """A dataset that was labelled on a server of its own says so before another is started in its place."""
    desk = make_desk(1, start=False)
    with desk.project.database.write() as session:
        session.add(LabellingProject(server="local:gone", number=1, title="t", config_sha256="0" * 64))
    home = Labelling(desk.project, Environment(prepare.cache(), None))
    with pytest.raises(LabelStudioError, match=r"label-studio, is gone\. .*--new-project"):
        home.start()
    assert not home.local.exists


def test_an_id_given_anew_is_another_answer(make_desk: MakeDesk) -> None:
    """A server put back to an earlier state gives ids again: the old answer is deleted, not turned into the new one."""
    desk = make_desk(2)
    desk.labelling.push()
    first, second = (task["id"] for task in desk.remote())
    gone = desk.studio.annotate(first, "Red")
    desk.labelling.pull()
    desk.studio.delete("annotations", gone)
    anew = desk.studio.annotate(second, "Green")
    with desk.project.database.write() as session:
        row = session.scalars(select(Annotation)).one()
        row.key = row.key.rpartition(":")[0] + f":{anew}"
    desk.labelling.pull()
    states = {a.image_id: [r.state for r in a.revisions] for a in desk.annotations()}
    active, deleted = AnnotationState.ACTIVE, AnnotationState.DELETED
    assert states == {desk.image_of(first): [active, deleted], desk.image_of(second): [active]}
    assert desk.labels() == {desk.image_of(second): "Green"}
    before = desk.counts()
    assert desk.labelling.pull().annotations == 0
    assert desk.counts() == before


def test_a_number_given_anew_is_another_task(make_desk: MakeDesk) -> None:
    """With SQLite behind it the server gives the number of a task that was its last, and was deleted, to the next."""
    desk = make_desk(3)
    desk.labelling.push(2)
    first, last = (task["id"] for task in desk.remote())
    lost = desk.image_of(last)
    desk.studio.annotate(last, "Red")
    desk.labelling.pull()
    desk.studio.delete("tasks", last)
    assert desk.labelling.push().created == 1
    with desk.project.database.read() as session:
        found = {task.image_id: (task.state, task.number) for task in session.scalars(select(LabellingTask))}
    assert found.pop(lost) == (TaskState.GONE, None)
    assert [task["id"] for task in desk.remote()] == sorted(n for _, n in found.values() if n) == [first, last]
    desk.studio.annotate(last, "Green")
    desk.labelling.pull()
    assert desk.labels() == {lost: "Red", desk.image_of(last): "Green"}


def test_a_task_deleted_between_two_pages_hides_none(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages go by numbers: those of the server's own would begin one too far, and leave a changed task out for good."""
    monkeypatch.setattr(client, "_PAGE", 2)
    desk = make_desk(5)
    desk.labelling.push()
    numbers = [task["id"] for task in desk.remote()]
    with desk.labelling.server() as server:
        pages = server.changed_tasks(desk.number, None)
        seen = [task["id"] for task in next(pages).tasks]
        desk.studio.delete("tasks", numbers[0])
        seen += [task["id"] for page in pages for task in page.tasks]
    assert seen == numbers


def test_tasks_that_somebody_imported_again_are_ours(make_desk: MakeDesk) -> None:
    """Tasks exported and imported into a new project, answers with them, are taken for ours and not made again."""
    desk = make_desk(3)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red")
    exported = desk.studio.ask("GET", f"/api/projects/{desk.number}/export", params={"exportType": "JSON"})
    assert len(exported) == 1
    desk.studio.delete("projects", desk.number)
    desk.labelling.start(may=Permission(given=True))
    desk.studio.ask("POST", f"/api/projects/{desk.number}/import", json=exported)
    report = desk.labelling.pull()
    assert (report.created, list(desk.labels().values())) == (1, ["Red"])
    assert (desk.labelling.push().created, len(desk.remote())) == (2, 3)


def test_a_clock_set_back_hides_no_answer(make_desk: MakeDesk) -> None:
    """Answers dated before the last pull are missed by the server's own filter: counts tell, and all is read again."""
    desk = make_desk(3)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    with desk.project.database.write() as session:
        session.scalars(select(LabellingProject)).one().pulled_until = datetime.now(UTC) + timedelta(hours=1)
    desk.studio.annotate(desk.task(1), "Green")
    assert desk.labelling.pull().created == 1
    assert sorted(desk.labels().values()) == ["Green", "Red"]


def test_what_does_not_add_up_is_read_once(make_desk: MakeDesk, studio: Studio) -> None:
    """Whoever pulls again and again, as `curate label watch` does, reads everything for it once, not each time."""
    with relay(studio.url) as between:
        desk = at(make_desk(3, start=False), between.url)
        desk.labelling.start()
        desk.labelling.push()
        first, _, last = desk.studio.ask("GET", "/api/tasks", params=as_sent(desk))["tasks"]
        desk.studio.delete("tasks", last["id"])
        copies = [{"data": first["data"] | {"note": "mine"}}, {"data": last["data"]}]
        desk.studio.ask("POST", f"/api/projects/{desk.number}/import", json=copies)  # one is among ours by its number
        desk.labelling.push()
        desk.studio.annotate(desk.task(2), "Red")
        desk.studio.annotate(first["id"], "Red")
        desk.labelling.pull()

        def whole() -> int:
            before = len(between.asked)
            desk.labelling.pull()
            asked = [path for method, path in between.asked[before:] if "fields=all" in path]
            return sum("tasks%3Aupdated_at" not in path for path in asked)

        assert [whole() for _ in range(3)] == [1, 0, 0]
        desk.project.database.close()


def test_everything_can_be_read_again(make_desk: MakeDesk, cli: Cli) -> None:
    """`--full` brings what the server's filter by time leaves out."""
    desk = make_desk(1)
    desk.labelling.push()
    answer = desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    with desk.project.database.write() as session:
        session.scalars(select(LabellingProject)).one().pulled_until = datetime.now(UTC) + timedelta(hours=1)
    desk.studio.edit(answer, "Green")
    assert desk.labelling.pull().annotations == 0
    cli("label", "pull", "--full", "--project", desk.root, env=desk.env, check=True)
    assert list(desk.labels().values()) == ["Green"]


def test_a_lost_reply_to_the_making_of_a_project_makes_no_second(make_desk: MakeDesk) -> None:
    """The next start finds the project that it never heard of."""
    desk = make_desk(1)
    number = desk.number
    with desk.project.database.write() as session:
        session.delete(session.scalars(select(LabellingProject)).one())
    assert desk.labelling.start().project == number


def test_a_deleted_number_is_never_deleted_for_another(make_desk: MakeDesk) -> None:
    """A task of a forgotten image whose number another project's task has by now is let go, and that one stays."""
    desk, other = make_desk(2), make_desk(1, name="other")
    desk.labelling.push()
    other.labelling.push()
    image = desk.image_of(desk.task())
    desk.studio.delete("tasks", desk.task())
    with desk.project.database.write() as session:
        row = session.scalars(select(LabellingTask).where(LabellingTask.image_id == image)).one()
        row.number = other.task()
    forget(desk.project, str(image), desk.labelling)
    with desk.project.database.read() as session:
        assert (
            session.scalars(select(LabellingTask.state).where(LabellingTask.image_id == image)).one() is TaskState.GONE
        )
    assert len(other.remote()) == 1
