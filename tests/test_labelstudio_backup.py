"""`curate label backup` and `restore`: a project's Label Studio in one file, and back, with nothing lost unasked."""

import gzip
import io
import json
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from curate import project as projects
from curate.edit import set_value
from curate.labelling import Labelling
from curate.studio import Environment
from db.errors import LabelStudioError
from db.labels import Answer, record
from db.models import AnnotationOrigin, AnnotationState, LabellingProject, LabellingTask, ReviewReason, TaskState
from db.models.base import now
from db.reviews import ask
from labeler.backup import DATABASE
from labeler.install import VERSION
from labeler.server import LocalServer
from tests import prepare
from tests.conftest import Cli
from tests.labelstudio import Desk, Studio, fill, free_port, label, person, set_url, started, unchecked

pytestmark = pytest.mark.xdist_group("server")


@contextmanager
def desk_of(folder: Path, studio: Studio) -> Iterator[Desk]:
    """A project that is labelled on its own server."""
    project = projects.open_project(folder)
    try:
        yield Desk(project, Labelling(project, Environment(prepare.cache(), None)), studio)
    finally:
        project.database.close()


@dataclass(frozen=True)
class Kept:
    """A project whose Label Studio was backed up while it ran, and what was in it then."""

    folder: Path
    backup: Path
    report: dict[str, Any]
    tasks: list[dict[str, Any]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Five images, three of them on the server, two answered; the backup; then the server is stopped."""
    place = tmp_path_factory.mktemp("kept")
    folder = place / "project"
    project = unchecked(folder, ("Red", "Green"))
    fill(project, place / "in", 5)
    project.database.close()
    set_value(folder / "curate.toml", "labelling.policy", "majority")
    with started(folder) as local, person(local) as studio, desk_of(folder, studio) as desk:
        desk.labelling.push(3)
        studio.annotate(desk.task(0), "Red")
        studio.annotate(desk.task(2), "Red")
        desk.labelling.pull()
        upload = {"file": ("note.png", b"\x89PNG\r\n\x1a\n" + bytes(64), "image/png")}
        studio.ask("POST", f"/api/projects/{desk.number}/import", params={"commit_to_project": "false"}, files=upload)
        report = label(folder, "backup", str(place / "studio.tar.gz"))
        tasks = desk.remote()
    return Kept(folder, place / "studio.tar.gz", report, tasks)


@pytest.fixture
def copy(kept: Kept, tmp_path: Path) -> Kept:
    """The same project and backup for one test alone, its server stopped."""
    shutil.copytree(kept.folder, tmp_path / "project")
    shutil.copy(kept.backup, tmp_path / "studio.tar.gz")
    set_url(tmp_path / "project", f"http://127.0.0.1:{free_port()}")
    return Kept(tmp_path / "project", tmp_path / "studio.tar.gz", kept.report, kept.tasks)


def local_of(kept: Kept) -> LocalServer:
    return LocalServer(kept.folder / ".curate" / "label-studio", kept.folder)


def everything(kept: Kept) -> dict[str, bytes]:
    """All files of the server's folder, and of anything that was left beside it."""
    above = local_of(kept).folder.parent
    return {
        path.relative_to(above).as_posix(): path.read_bytes()
        for path in above.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_backup_of_a_running_server_is_whole_and_private(kept: Kept) -> None:
    """It has database, upload and secrets, its user alone can read it, and it is never written over."""
    assert stat.S_IMODE(kept.backup.stat().st_mode) == 0o600
    assert {name: kept.report[name] for name in ("projects", "tasks", "annotations")} == {
        "projects": 1,
        "tasks": 3,
        "annotations": 2,
    }
    with tarfile.open(kept.backup) as archive:
        names = archive.getnames()
    assert names[-1] == "manifest.json"
    assert {f"data/{name}" for name in (DATABASE, ".env", "credentials.json")} <= set(names)
    assert [name for name in names if "upload" in name and name.endswith("note.png")]
    assert not [name for name in names if "server.log" in name or "/home/" in name]
    with pytest.raises(LabelStudioError, match="exists already"), desk_of(kept.folder, None) as desk:  # type: ignore[arg-type]
        desk.labelling.back_up(kept.backup)


def test_a_lost_server_comes_back(copy: Kept) -> None:
    """After its folder is gone altogether: tasks, answers, uploads, login and token are as they were."""
    before = local_of(copy).credentials()
    shutil.rmtree(local_of(copy).folder)
    assert label(copy.folder, "restore", str(copy.backup)) == {"tasks": 0, "answers": 0}
    assert (local_of(copy).credentials().token, local_of(copy).credentials().pid) == (before.token, None)
    assert stat.S_IMODE(local_of(copy).folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in local_of(copy).folder.rglob("*") if path.is_file()} == {0o600}
    try:
        label(copy.folder, "start")
        with person(local_of(copy)) as studio, desk_of(copy.folder, studio) as desk:
            assert desk.remote() == copy.tasks
            with desk.labelling.server() as server:
                (upload,) = server.uploads(desk.number)
            assert studio.http.get(upload).content.startswith(b"\x89PNG")
            rows = desk.counts()
            assert (desk.labelling.pull().annotations, desk.labelling.push(3).created) == (0, 2)
            assert desk.counts()["labelling_tasks"] == rows["labelling_tasks"] + 2
    finally:
        local_of(copy).stop()


def test_what_was_made_since_converges(copy: Kept, cli: Cli) -> None:
    """Restored over newer work: what waits is pushed anew, answers that are only here count, no number stands twice."""
    with started(copy.folder) as local, person(local) as studio, desk_of(copy.folder, studio) as desk:
        desk.labelling.push()  # two more tasks
        (first, second, third, fourth, fifth) = [task["id"] for task in desk.remote()]
        studio.edit(desk.remote()[0]["annotations"][0]["id"], "Green")
        studio.annotate(second, "Red")
        studio.annotate(fourth, "Green")
        studio.delete("annotations", desk.remote()[2]["annotations"][0]["id"])
        desk.labelling.pull()
        labels = desk.labels()
        images = {number: desk.image_of(number) for number in (first, second, third, fourth, fifth)}
    refused = cli("label", "restore", copy.backup, "--project", copy.folder)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "has 2 tasks, 3 answers that" in refused.err
    assert "`--replace` gives them up" in refused.err
    done = label(copy.folder, "restore", str(copy.backup), "--replace")
    assert done == {"tasks": 2, "answers": 2}
    with started(copy.folder) as local, person(local) as studio, desk_of(copy.folder, studio) as desk:
        assert desk.labels() == labels  # the edit, and both answers that the server forgot
        labels[images[third]] = "Red"  # what was deleted since is back
        assert (desk.labelling.pull().annotations, desk.labels()) == (1, labels)
        assert desk.labelling.push().created == 1  # the fourth has its label
        numbers = [task["id"] for task in desk.remote()]
        assert numbers[:3] == [first, second, third]
        assert desk.image_of(numbers[3]) == images[fifth]
        studio.annotate(second, "Green")
        studio.annotate(numbers[3], "Green")
        assert desk.labelling.pull().created == 2
        # Who answers again is still one voice.
        assert desk.labels() == labels | {images[second]: "Green", images[fifth]: "Green"}
        assert AnnotationState.DELETED not in desk.states()
        rows = desk.counts()
        assert (desk.labelling.push().created, desk.labelling.pull().annotations, desk.counts()) == (0, 0, rows)


def test_what_somebody_was_asked_about_since_is_sent_anew(copy: Kept) -> None:
    """Though it has a label: else the question would wait for ever, and nobody could see the picture."""
    with desk_of(copy.folder, None) as desk:  # type: ignore[arg-type]
        images = set(desk.images())
        with desk.project.database.write() as session:
            fourth, fifth = sorted(images.difference(session.scalars(select(LabellingTask.image_id))))
            (place,) = session.scalars(select(LabellingProject.id))
            red = desk.project.classes(session)["Red"]
            for number, image in enumerate((fourth, fifth)):
                there = {"number": 900 + number, "state": TaskState.THERE, "data_url": "x"}
                session.add(LabellingTask(project_id=place, image_id=image, **there))
                state, moment = AnnotationState.ACTIVE, now()
                record(session, [Answer(f"import:{image}", AnnotationOrigin.IMPORT, image, state, red, moment)])
            ask(session, [fifth], ReviewReason.SUSPECT)
    assert label(copy.folder, "restore", str(copy.backup)) == {"tasks": 2, "answers": 0}
    with desk_of(copy.folder, None) as desk, desk.project.database.read() as session:  # type: ignore[arg-type]
        query = select(LabellingTask.state).where(LabellingTask.image_id.in_([fourth, fifth]))
        assert session.scalars(query.order_by(LabellingTask.image_id)).all() == [TaskState.GONE, TaskState.SENT]


def test_a_running_server_is_not_written_over(copy: Kept, cli: Cli) -> None:
    """Not even with --replace: the line says how to stop it, and it goes on."""
    with started(copy.folder) as local:
        ran = cli("label", "restore", copy.backup, "--replace", "--project", copy.folder)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "stop it first with `curate label stop`" in ran.err
        assert local.running()


def packed(files: dict[str, bytes], manifest: dict[str, Any] | None, *, extra: tarfile.TarInfo | None = None) -> bytes:
    """An archive as `curate label backup` would write it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        if extra is not None:
            archive.addfile(extra, io.BytesIO(bytes(extra.size)))
        said = {} if manifest is None else {"manifest.json": json.dumps(manifest).encode()}
        for name, data in {**files, **said}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def unpacked(kept: Kept) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What is in a backup."""
    files: dict[str, bytes] = {}
    with tarfile.open(kept.backup) as archive:
        for member in archive:
            data = archive.extractfile(member)
            assert data is not None
            files[member.name] = data.read()
    return files, json.loads(files.pop("manifest.json"))


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """A member that is no plain file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def altered(name: str) -> Callable[[Kept], bytes]:
    """The backup with one byte of a file changed, and a checksum of the archive that fits."""

    def alter(kept: Kept) -> bytes:
        files, manifest = unpacked(kept)
        data = bytearray(files[name])
        data[len(data) // 2] ^= 1
        return packed(files | {name: bytes(data)}, manifest)

    return alter


def with_manifest(**changes: object) -> Callable[[Kept], bytes]:
    """The backup with something else in its manifest."""
    return lambda kept: packed(unpacked(kept)[0], unpacked(kept)[1] | changes)


def with_member(member: tarfile.TarInfo) -> Callable[[Kept], bytes]:
    """The backup with a member too many."""
    return lambda kept: packed(*unpacked(kept), extra=member)


DAMAGED = "is no backup, or is damaged or cut short"
FOREIGN = "is no backup made by `curate label backup`"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda _: b"", DAMAGED),
        (lambda _: b"once upon a time" * 100, DAMAGED),
        (lambda _: gzip.compress(b"once upon a time" * 100), DAMAGED),
        (lambda kept: kept.backup.read_bytes()[: kept.backup.stat().st_size // 2], DAMAGED),
        (lambda kept: kept.backup.read_bytes()[:-4], DAMAGED),
        (lambda kept: packed(unpacked(kept)[0], None), FOREIGN),
        (lambda _: packed({"data/x": b"x"}, {"format": "another"}), FOREIGN),
        (lambda _: packed({"etc/passwd": b"x"}, None), "which lies outside"),
        (lambda _: packed({"data/../../x": b"x"}, None), "which lies outside"),
        (lambda _: packed({"/tmp/x": b"x"}, None), "which lies outside"),  # noqa: S108 - never written
        (with_member(special("data/media/x", tarfile.SYMTYPE, "/etc")), "which is no plain file"),
        (with_member(special("data/media/x", tarfile.LNKTYPE, "data/.env")), "which is no plain file"),
        (with_member(special("data/media/x", tarfile.FIFOTYPE)), "which is no plain file"),
        (with_member(special("data/.env", tarfile.REGTYPE)), "holds '.env' twice"),
        (with_member(special("data/media/new", tarfile.REGTYPE)), "its files are not those that were backed up"),
        (altered("data/.env"), "its files are not those that were backed up"),
        (altered(f"data/{DATABASE}"), "its files are not those that were backed up"),
        (with_manifest(label_studio="99.0.0"), f"was made of Label Studio 99.0.0, and this curate runs {VERSION}"),
    ],
)
def test_what_is_no_whole_backup_changes_nothing(
    copy: Kept, spoil: Callable[[Kept], bytes], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Damaged, cut short, foreign, newer, or pointing elsewhere: one line, and every byte is as it was."""
    bad = copy.folder.parent / "bad.tar.gz"
    bad.write_bytes(spoil(copy))
    before = everything(copy)
    outside = set(copy.folder.parent.iterdir())
    with desk_of(copy.folder, None) as desk, pytest.raises(LabelStudioError, match="nothing was changed") as told:  # type: ignore[arg-type]
        desk.labelling.restore(bad, replace_work=True)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert everything(copy) == before
    assert set(copy.folder.parent.iterdir()) == outside
    assert capfd.readouterr().out == ""


def test_another_projects_backup_is_not_taken_unasked(copy: Kept) -> None:
    """Everything that is here is something that it lacks."""
    kept_here = local_of(copy).credentials()
    local_of(copy).keep(type(kept_here)("local:another", kept_here.password, kept_here.token, kept_here.port, None))
    before = everything(copy)
    with (
        desk_of(copy.folder, None) as desk,  # type: ignore[arg-type]
        pytest.raises(LabelStudioError, match="has 1 projects, 3 tasks, 2 answers, 1 uploads that"),
    ):
        desk.labelling.restore(copy.backup, replace_work=False)
    assert everything(copy) == before


@pytest.mark.parametrize("fault", ["restore.moved", "restore.swapped", "commit.before", "commit.after"])
def test_killed_anywhere_there_is_one_whole_server(copy: Kept, cli: Cli, fault: str) -> None:
    """The old folder or the new one, never none; the same command again ends as if it had never been killed."""
    database = local_of(copy).folder / DATABASE
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE task_completion SET result = '[]', updated_at = '2030-01-01 00:00:00'")
    arguments = ["label", "restore", copy.backup, "--replace", "--project", copy.folder]
    killed = cli(*arguments, env={"CURATE_FAULT": fault})
    assert killed.code == -9
    assert local_of(copy).exists  # which puts back what was moved away
    with closing(sqlite3.connect(database)) as connection:
        (result,) = connection.execute("SELECT result FROM task_completion").fetchone()
    assert (result == "[]") == (fault == "restore.moved")
    cli(*arguments, check=True)
    assert not (local_of(copy).folder / "restored").exists()
    assert {path.name for path in local_of(copy).folder.parent.iterdir() if path.is_dir()} == {"label-studio"}
    with closing(sqlite3.connect(database)) as connection:
        (result,) = connection.execute("SELECT result FROM task_completion").fetchone()
    assert "Red" in result


def test_a_server_of_the_users_own_is_backed_up_elsewhere(copy: Kept, cli: Cli) -> None:
    """With a token for another server the commands say whose it is, and touch nothing."""
    for arguments in (["backup"], ["restore", copy.backup]):
        ran = cli("label", *arguments, "--project", copy.folder, env={"CURATE_LABEL_STUDIO_TOKEN": "x"})
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "is not curate's own" in ran.err


def test_nothing_to_back_up_is_told(cli: Cli, tmp_path: Path) -> None:
    """Before the first start there is no server; a file that is not there is named."""
    projects.create(tmp_path / "project", None, ("Red", "Green")).database.close()
    ran = cli("label", "backup", "--project", tmp_path / "project")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "start it with `curate label start`" in ran.err
    ran = cli("label", "restore", "nowhere.tar.gz", "--project", tmp_path / "project")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no file" in ran.err
    assert "nowhere.tar.gz" in ran.err
