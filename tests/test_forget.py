"""`curate forget`: an image is out of everything, for good, and whatever was frozen before stays as it was."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from curate.crawl import claims
from curate.dedup.search import dedup
from curate.doctor import examine
from curate.forget import ForgetReport, forget
from curate.ingest.decide import decide
from curate.ingest.folder import import_folder
from curate.ingest.intake import Collecting, Intake, Offer, register
from curate.labelling import Labelling
from curate.project import Project, open_project
from curate.split import split
from curate.studio import Environment
from curate.training import options_from, train_run
from db.errors import DatasetError
from db.labels import Answer, record
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationState,
    Base,
    Candidate,
    CandidateState,
    DuplicatePair,
    Image,
    ImageState,
    Label,
    Layout,
    Run,
    SnapshotItem,
)
from db.models.base import now
from db.reasons import Reason
from tests.conftest import Cli
from tests.pictures import encoded, jpeg, picture, write_folder
from tests.taking import take
from tests.test_kill import KILLED, content, pair
from trainer import cache
from trainer.manifest import TRAIN, Item

PAGE = "https://museum.example/guitars"


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project of two classes whose targets are small."""
    return make_project("Red", "Green", dataset__target="4", dataset__validation="1")


def offer(project: Project, address: str, data: bytes, intake: Intake | None = None, page_url: str = "") -> Candidate:
    """Let a source have shown an address, and its bytes be fetched."""
    intake = intake or Intake.of(project)
    with project.database.write() as session:
        outcome = take(session, intake, data)
        found = register(session, [Offer(address, "museum", page_url=page_url)], Collecting())[address]
        if found.state is CandidateState.PENDING:
            decide(session, [(found, outcome)])
    return found


def out(project: Project, given: object) -> ForgetReport:
    """Forget, where no Label Studio is."""
    return forget(project, str(given), Labelling(project, Environment(project.root / "nowhere", None)))


def rows(project: Project) -> dict[str, list[Any]]:
    """Everything in the database."""
    with project.database.read() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: sorted(map(tuple, session.execute(select(table))), key=str) for table in tables}


def count(project: Project, table: type[Base]) -> int:
    """Rows of a table."""
    with project.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def with_copies(project: Project, folder: Path) -> tuple[int, int]:
    """Import labelled pictures, two of them the same photograph; give its keeper and the copy."""
    write_folder(folder, {"Red": range(4), "Green": range(4)})
    (folder / "Red" / "a.jpg").write_bytes(jpeg(900, (240, 180)))
    (folder / "Red" / "b.jpg").write_bytes(encoded(picture(900, (240, 180)).reduce(2), quality=80))
    import_folder(project, folder, labels=True)
    (group,) = dedup(project).groups
    (copy,) = {member.id for member in group.members} - {group.keeper}
    return group.keeper, copy


def test_a_forgotten_image_is_out_of_everything(project: Project, cli: Cli, tmp_path: Path) -> None:
    """File, label and pairs are gone, its copy stands for itself and is named; the row stays, and so do answers."""
    keeper, copy = with_copies(project, tmp_path / "in")
    with project.database.read() as session:
        image = session.get_one(Image, keeper)
    found = cli("forget", keeper, "--json", cwd=project.root, check=True).json
    assert found["removed"] == [{"id": keeper, "sha256": image.sha256}]
    assert (found["copies"], found["label_studio"]) == ([copy], "none")
    assert found["addresses"] == [(tmp_path / "in" / "Red" / "a.jpg").as_uri()]
    assert not project.store.path(image.sha256, image.format).exists()
    with project.database.read() as session:
        tombstone, other = session.get_one(Image, keeper), session.get_one(Image, copy)
        assert (tombstone.state, tombstone.state_reason) == (ImageState.FORGOTTEN, Reason.FORGOTTEN)
        assert (tombstone.group_id, other.group_id, other.is_keeper) == (None, None, True)
        candidate = session.scalars(select(Candidate).where(Candidate.image_id == keeper)).one()
        assert (candidate.state, candidate.reason) == (CandidateState.FAILED, Reason.FORGOTTEN)
        assert session.get(Label, keeper) is None
        assert (session.get(Layout, keeper), session.get(Layout, copy) is not None) == (None, True)
        assert session.scalars(select(Annotation.state).where(Annotation.image_id == keeper)).all() == ["active"]
    assert (count(project, DuplicatePair), examine(project, repair=False)) == (0, [])


def test_forgetting_twice_changes_nothing(project: Project, tmp_path: Path) -> None:
    """Of an image, of an address that nobody knew, and of a page."""
    keeper, _ = with_copies(project, tmp_path / "in")
    offer(project, "https://museum.example/1.jpg", jpeg(1), page_url=PAGE)
    for given in (keeper, "https://museum.example/new.jpg", PAGE):
        first = out(project, given)
        before = rows(project)
        again = out(project, given)
        assert (again.removed, again.addresses) == (first.removed, first.addresses)
        assert rows(project) == before


def test_the_same_bytes_never_come_back(project: Project, tmp_path: Path) -> None:
    """By another address, by a crawl that began before, or by importing them again; and no file is left of them."""
    folder = write_folder(tmp_path / "in", {"Red": range(1)})
    data = (folder / "Red" / "0.jpg").read_bytes()
    first = offer(project, "https://museum.example/1.jpg", data)
    running = Intake.of(project)
    out(project, first.image_id)
    for address, intake in (("https://mirror.example/1.jpg", None), ("https://museum.example/again.jpg", running)):
        later = offer(project, address, data, intake)
        assert not list(project.store.files())
        assert (later.state, later.reason, later.image_id) == (CandidateState.FAILED, Reason.FORGOTTEN, None)
    assert import_folder(project, folder, labels=True).failed == {"forgotten": 1}
    assert (list(project.store.files()), count(project, Label), count(project, Image)) == ([], 0, 1)


def test_an_address_gives_up_every_image_it_had(project: Project) -> None:
    """The one that came before its picture was changed, too."""
    old = offer(project, PAGE, jpeg(1)).image_id
    with project.database.write() as session:
        session.scalars(select(Candidate)).one().state = CandidateState.PENDING
    new = offer(project, PAGE, jpeg(2)).image_id
    assert old != new
    assert [removed.id for removed in out(project, PAGE).removed] == [old, new]
    assert list(project.store.files()) == []


def test_an_address_that_nobody_knows_is_never_fetched(project: Project) -> None:
    """It is written down, and no source that shows it later opens it again; what no crawl fetches is an error."""
    report = out(project, "https://museum.example/new.jpg")
    assert (report.removed, report.addresses) == ([], ["https://museum.example/new.jpg"])
    later = offer(project, "https://museum.example/new.jpg", jpeg(1))
    assert (later.state, later.reason, later.image_id) == (CandidateState.FAILED, Reason.FORGOTTEN, None)
    with pytest.raises(DatasetError, match="no crawl would fetch it"):
        out(project, "ftp://museum.example/new.jpg")


def test_a_claimed_address_is_taken_from_its_crawl(project: Project) -> None:
    """Whoever fetches it just now no longer owns it, and so writes nothing down."""
    with project.database.write() as session:
        register(session, [Offer("https://museum.example/1.jpg", "museum")], Collecting("class:1"))
        assert len(claims.claim(session, "class:1", "somebody", 9, 9, Counter())) == 1
    out(project, "https://museum.example/1.jpg")
    with project.database.write() as session:
        candidate = session.scalars(select(Candidate)).one()
        assert (candidate.state, candidate.owner, candidate.lease_until) == (CandidateState.FAILED, None, None)
        claims.release(session, "somebody")
        assert claims.claim(session, "class:1", "another", 9, 9, Counter()) == []


def test_a_page_stands_for_all_that_was_seen_on_it(project: Project) -> None:
    """Every image of the page is out, and what was not fetched yet is not fetched; another page's image stays."""
    images = [offer(project, f"https://museum.example/{n}.jpg", jpeg(n), page_url=PAGE) for n in (1, 2)]
    other = offer(project, "https://museum.example/3.jpg", jpeg(3), page_url=f"{PAGE}/more")
    with project.database.write() as session:
        register(session, [Offer("https://museum.example/4.jpg", "museum", page_url=PAGE)], Collecting())
    report = out(project, PAGE)
    assert [removed.id for removed in report.removed] == [candidate.image_id for candidate in images]
    assert [address[-5:] for address in report.addresses] == ["1.jpg", "2.jpg", "4.jpg"]
    with project.database.read() as session:
        assert session.scalars(select(Image.id).where(Image.state == ImageState.STORED)).all() == [other.image_id]
        assert session.scalars(select(Candidate).where(Candidate.state == CandidateState.PENDING)).all() == []


def test_no_later_answer_brings_a_label_back(project: Project, tmp_path: Path) -> None:
    """It goes on record, and counts for nothing."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(1)}), labels=True)
    out(project, 1)
    answer = Answer("late", AnnotationOrigin.LABEL_STUDIO, 1, AnnotationState.ACTIVE, 2, now())
    with project.database.write() as session:
        assert record(session, [answer]).created == 1
    assert (count(project, Annotation), count(project, Label)) == (2, 0)


def test_training_on_a_split_that_has_it_is_refused_by_number(project: Project, cli: Cli, tmp_path: Path) -> None:
    """The frozen split stays as it was, no run begins on it, and the next split leaves the image out."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(5), "Green": range(5)}), labels=True)
    first = split(project).snapshot
    with project.database.read() as session:
        image = session.scalars(select(SnapshotItem.image_id).where(SnapshotItem.snapshot_id == first)).first()
    out(project, image)
    ran = cli("train", "--init", "none", cwd=project.root)
    assert (ran.code, ran.err.count("\n"), count(project, Run)) == (2, 1, 0)
    assert f"split {first} has images that were forgotten ({image}); make a new one with `curate split`" in ran.err
    second = split(project).snapshot
    with project.database.read() as session:
        members = {
            n: set(session.scalars(select(SnapshotItem.image_id).where(SnapshotItem.snapshot_id == n)))
            for n in (first, second)
        }
    assert (len(members[first]), image in members[first], image in members[second]) == (8, True, False)


def test_a_stopped_run_is_not_resumed_with_it(project: Project, tmp_path: Path) -> None:
    """`--resume` refuses as well: the run would learn from it."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(5), "Green": range(5)}), labels=True)
    snapshot = split(project).snapshot
    with project.database.write() as session:
        session.add(Run(name="stopped", snapshot_id=snapshot, arch="small", options={}, classes=["Red", "Green"]))
        image = session.scalars(select(SnapshotItem.image_id)).first()
    out(project, image)
    with pytest.raises(DatasetError, match=f"forgotten \\({image}\\)"):
        train_run(project, options_from(project), resume=True)


def make_cache(folder: Path, name: str, held: list[str] | None) -> Path:
    """A file of pixels that says which images it holds, or does not."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.u8"
    np.zeros(8, np.uint8).tofile(path)
    if held is not None:
        path.with_suffix(".json").write_text(json.dumps(held))
    return path


def test_decoded_pixels_are_removed_too(project: Project) -> None:
    """Caches that hold it, or do not say what they hold, are gone with their lists; others stay."""
    image = offer(project, "https://museum.example/1.jpg", jpeg(1)).image_id
    with project.database.read() as session:
        sha256 = session.get_one(Image, image or 0).sha256
    folder = project.private / "pixels"
    kept = make_cache(folder, "37-a", ["0" * 64])
    make_cache(folder, "37-b", ["0" * 64, sha256])
    make_cache(folder, "37-c", None)
    out(project, image)
    assert sorted(folder.iterdir()) == [kept.with_suffix(".json"), kept]


def test_a_cache_whose_pixels_are_gone_is_built_anew(tmp_path: Path) -> None:
    """A list alone is no cache: whatever took the pixels away, training decodes again."""
    path = tmp_path / "1.jpg"
    path.write_bytes(jpeg(1))
    items = [Item("1", path, "0" * 64, 0, TRAIN)]
    first = np.array(cache.load(items, 16, tmp_path / "pixels"))
    next((tmp_path / "pixels").glob("*.u8")).unlink()
    assert np.array_equal(cache.load(items, 16, tmp_path / "pixels"), first)


def test_what_is_not_here_is_told_in_one_line(project: Project, cli: Cli) -> None:
    """An image that nobody has is an error, and changes nothing."""
    ran = cli("forget", "12", cwd=project.root)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "no image '12' here" in ran.err


@pytest.mark.parametrize("point", ["commit.before", "commit.after", "image.removed"])
def test_a_killed_forget_is_gone_on_with(
    cli: Cli, make_project: Callable[..., Project], tmp_path: Path, point: str
) -> None:
    """Killed before its transaction nothing is done, after it a file is left for the doctor; run again, all is done."""
    root, spared = pair(make_project)
    for place in (root, spared):
        keeper, _ = with_copies(open_project(place), tmp_path / "in")
    assert cli("forget", keeper, cwd=root, env={"CURATE_FAULT": point}).code == KILLED
    left = [problem["kind"] for problem in cli("doctor", "--json", cwd=root).json["problems"]]
    assert left == (["orphan"] if point == "commit.after" else [])
    for place in (root, spared):
        cli("forget", keeper, cwd=place, check=True)
    assert content(root) == content(spared)


def test_the_doctor_removes_what_a_killed_forget_left(cli: Cli, project: Project, tmp_path: Path) -> None:
    """The orphan goes with `--repair`."""
    with_copies(project, tmp_path / "in")
    cli("forget", "1", cwd=project.root, env={"CURATE_FAULT": "commit.after"})
    assert cli("doctor", "--repair", cwd=project.root).code == 0
    assert examine(project, repair=False) == []
