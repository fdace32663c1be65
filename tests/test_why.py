"""`curate why`: the chain from a query to the file, and everything that happened to the image since."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from curate.dedup.search import dedup
from curate.ingest.decide import decide
from curate.ingest.intake import Collecting, Intake, Offer, register
from curate.lookup import find_image
from curate.project import Project
from curate.split import split
from curate.why import why
from db.errors import DatasetError
from db.labels import Answer, record
from db.models import (
    AnnotationOrigin,
    AnnotationState,
    Candidate,
    CandidateState,
    Image,
    LabellingProject,
    LabellingTask,
    Prediction,
    Prelabel,
    Run,
    TaskState,
)
from db.models.base import now
from db.reasons import Reason, Refusal
from tests.conftest import Cli
from tests.pictures import encoded, jpeg, picture
from tests.taking import take

URL = "https://museum.example/files/jaguar.jpg"
SAID = {
    "query": "red guitar",
    "name": "jaguar.jpg",
    "page_url": "https://museum.example/jaguar",
    "title": "A jaguar, seen from the front",
    "creator": "Ada",
    "creator_url": "https://museum.example/ada",
    "licence": "CC-BY-2.0",
    "licence_said": "by 2.0",
    "licence_url": "https://creativecommons.org/licenses/by/2.0/",
    "attribution": '"A jaguar" by Ada, CC BY 2.0',
}


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project of two classes, with one picture from a museum."""
    project = make_project("Red", "Green", dataset__target="2", dataset__validation="1")
    fetch(project, URL, jpeg(1), **SAID)
    return project


def fetch(project: Project, address: str, data: bytes | Refusal, **said: Any) -> Candidate:  # noqa: ANN401 - fields of Offer
    """Let a source have shown an address for the first class, and its bytes, or a refusal, have come of it."""
    intake = Intake.of(project)
    with project.database.write() as session:
        outcome = data if isinstance(data, Refusal) else take(session, intake, data)
        (found,) = register(session, [Offer(address, "museum", **said)], Collecting("class:1", 1)).values()
        found.attempts += 1
        decide(session, [(found, outcome)])
    return found


def answer(project: Project, image: int, class_id: int, key: str = "1", **more: Any) -> None:  # noqa: ANN401 - fields of Answer
    """Let somebody have answered."""
    values = {"answered_at": now(), "annotator": "7", **more}
    with project.database.write() as session:
        record(
            session,
            [Answer(key, AnnotationOrigin.LABEL_STUDIO, image, AnnotationState.ACTIVE, class_id, **values)],
        )


def test_the_chain_leads_from_query_to_file(project: Project, cli: Cli) -> None:
    """Source, query, page, creator, licence as named and as said, the address and what came of it, and the facts."""
    found = cli("why", "1", "--json", cwd=project.root, check=True).json
    (seen,) = found["sightings"]
    assert {key: seen[key] for key in SAID} == SAID
    assert (seen["source"], seen["collected_for"]) == ("museum", "Red")
    address = seen["address"]
    assert (address["url"], address["state"], address["reason"], address["attempts"]) == (URL, "stored", None, 1)
    assert address["decided_at"] >= address["found_at"]
    image = found["image"]
    assert (image["id"], image["sha256"]) == (1, hashlib.sha256(jpeg(1)).hexdigest())
    assert (image["format"], image["width"], image["height"], image["bytes"]) == ("JPEG", 120, 90, len(jpeg(1)))
    assert (image["state"], image["guess"]) == ("stored", "Red")
    assert (project.root / image["path"]).read_bytes() == jpeg(1)
    nothing = (found["group"], found["annotations"], found["label"], found["splits"], found["tasks"])
    assert nothing == (None, [], None, [], [])


def test_people_read_the_story_whole(project: Project, cli: Cli) -> None:
    """Each part under its heading; long values stay on one line; nobody is shown JSON."""
    told = cli("why", URL, cwd=project.root, check=True).out
    for line in (
        "image 1: images/",
        f"  file: {URL}",
        "  licence: CC-BY-2.0 https://",
        f"  attribution: {SAID['attribution']}",
    ):
        assert line in told
    assert "for 'red guitar' (Red)" in told
    assert "label: none of its own" in told
    assert "{" not in told


def test_words_from_the_web_command_no_terminal(project: Project, cli: Cli) -> None:
    """A title could clear the screen or set the window's; what it cannot be shown as is marked, the rest is there."""
    fetch(project, "https://a.example/1.jpg", jpeg(1), title="Sun\x1b[2J\x1b]0;set\x07", creator="Ann\x9b31m")
    shown = cli("why", "1", cwd=project.root, check=True).out
    assert not {"\x1b", "\x07", "\x9b"}.intersection(shown)
    assert "Sun\N{SYMBOL FOR ESCAPE}[2J" in shown
    refused = cli("why", "https://a.example/\x1b[2J", cwd=project.root).err
    assert "\x1b" not in refused
    assert cli("why", "1", "--json", cwd=project.root, check=True).json["sightings"][-1]["creator"] == "Ann\x9b31m"


def test_every_way_to_name_an_image_finds_it(project: Project, tmp_path: Path) -> None:
    """Number, hash and its beginning, in any case, stored file, any copy of the bytes, and the address."""
    sha256 = hashlib.sha256(jpeg(1)).hexdigest()
    copy = tmp_path / "12"
    copy.write_bytes(jpeg(1))
    names = ["1", sha256, sha256[:8].upper(), f"elsewhere/{sha256}.jpg", str(copy), URL]
    names.append(str(project.store.path(sha256, "JPEG")))
    with project.database.read() as session:
        assert [find_image(session, name).id for name in names] == [1] * len(names)


def test_a_beginning_of_several_hashes_lists_them(project: Project) -> None:
    """Both are named, and more digits asked for. A number that no image has is read as digits of a hash."""
    values = {"phash": 0, "width": 1, "height": 1, "format": "PNG", "bytes": 1, "sharpness": 0.0}
    with project.database.write() as session:
        session.add_all(Image(sha256="12345678" + end * 56, **values) for end in "ab")
    with project.database.read() as session:
        with pytest.raises(DatasetError, match=r"several images: 2 \(12345678a+\), 3 \(12345678b+\); give more digits"):
            find_image(session, "12345678")
        assert find_image(session, "12345678b").id == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("99", "no image '99' here"),
        ("abcdef0", "no image 'abcdef0' here"),
        ("9" * 30, "no image"),
        ("0" * 64 + ".jpg", "no image"),
        (".", "cannot read .: Is a directory"),
        ("curate.toml", "the bytes of curate.toml are no image of this dataset"),
        ("https://museum.example/other.jpg", "nothing is known of https://museum.example/other.jpg"),
        ("https://museum.example/\udcff.jpg", "is not written in UTF-8"),
    ],
)
def test_what_is_not_here_is_told_in_one_line(project: Project, cli: Cli, given: str, told: str) -> None:
    """Whatever was given, the command stops with 2 and says what is wrong with it."""
    ran = cli("why", given, cwd=project.root)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err


def test_an_address_that_gave_no_image_says_why(project: Project, cli: Cli) -> None:
    """Reason, status, the server's words and the moment; and who showed it."""
    url = "https://museum.example/gone.jpg"
    fetch(project, url, Refusal(Reason.HTTP_4XX, "Gone", 410), page_url="https://museum.example/")
    found = cli("why", url, "--json", cwd=project.root, check=True).json
    address = found["address"]
    assert (address["state"], address["reason"]) == ("failed", "http_4xx")
    assert (address["http_status"], address["detail"]) == (410, "Gone")
    assert (found["image"], found["sightings"][0]["page_url"]) == (None, "https://museum.example/")
    assert f"{url}: failed, http_4xx 410: Gone, 20" in cli("why", url, cwd=project.root, check=True).out
    ran = cli("forget", url, cwd=project.root, check=True)
    assert url in ran.out
    assert "failed, forgotten: taken out for good" in cli("why", url, cwd=project.root, check=True).out


def test_answers_are_told_with_their_past(project: Project) -> None:
    """Each revision with who, when and what became of the pre-label; the label is that of the last one."""
    before = now() - timedelta(hours=1)
    answer(project, 1, 1, answered_at=before, prelabel=Prelabel.ACCEPTED, lead_time=2.5)
    answer(project, 1, 2, annotator="8", prelabel=Prelabel.CHANGED)
    found = why(project, "1")
    (given,) = found.annotations
    first, second = given.revisions
    assert (first.label, first.annotator, first.prelabel, first.lead_time) == ("Red", "7", "accepted", 2.5)
    assert (second.label, second.annotator, second.prelabel) == ("Green", "8", "changed")
    assert first.answered_at == before
    assert found.label is not None
    assert (found.label.label, found.label.annotation, found.label.origin) == ("Green", given.id, "label_studio")


def test_copies_are_told_with_their_keeper(project: Project) -> None:
    """The group, who stands for it, what it counts as, and how near each copy is."""
    large = fetch(project, "https://museum.example/large.jpg", jpeg(900, (240, 180)))
    small = encoded(picture(900, (240, 180)).reduce(2), quality=80)
    copy = fetch(project, "https://museum.example/small.jpg", small)
    dedup(project)
    answer(project, copy.image_id or 0, 2)
    group = why(project, str(large.image_id)).group
    assert group is not None
    assert (group.keeper, group.label) == (large.image_id, "Green")
    own, other = group.members
    assert (own.id, own.label, own.distance) == (large.image_id, None, None)
    assert (other.id, other.label) == (copy.image_id, "Green")
    assert other.distance is not None
    assert (other.score or 0) > 0.7
    assert other.reason == "little detail, and the same all over"


def test_splits_predictions_and_tasks_are_told(project: Project, cli: Cli) -> None:
    """Which side of which split, what each run said, and where people see it."""
    other = fetch(project, "https://museum.example/2.jpg", jpeg(2))
    answer(project, 1, 1)
    answer(project, other.image_id or 0, 1, "2")
    snapshot = split(project).snapshot
    with project.database.write() as session:
        run = Run(name="0001-small", snapshot_id=snapshot, arch="small", options={}, classes=["Red", "Green"])
        desk = LabellingProject(server="local:1", number=5, title="t", config_sha256="0" * 64)
        session.add_all([run, desk])
        session.flush()
        said = {"class_index": 1, "score": 0.75, "outside": True, "probabilities": [0.25, 0.75]}
        session.add(Prediction(run_id=run.id, image_id=1, **said))
        sent = {"number": 31, "state": TaskState.THERE, "data_url": "x", "prelabelled_by_id": run.id}
        session.add(LabellingTask(project_id=desk.id, image_id=1, **sent))
    found = why(project, "1")
    assert [(place.snapshot, place.label) for place in found.splits] == [(snapshot, "Red")]
    assert [(said.run, said.label, said.score, said.outside) for said in found.predictions] == [
        ("0001-small", "Green", 0.75, True)
    ]
    assert [(task.project, task.task, task.state, task.prelabel_of) for task in found.tasks] == [
        (5, 31, "there", "0001-small")
    ]
    told = cli("why", "1", cwd=project.root, check=True).out
    assert "  run 0001-small: Green at 0.750, the nearest; none of the classes" in told
    assert "  task 31 in project 5 of local:1: there" in told


def test_a_forgotten_image_still_has_its_story(project: Project, cli: Cli) -> None:
    """What it was, where it came from and what was said of it stay on record."""
    answer(project, 1, 1)
    cli("forget", URL, cwd=project.root, check=True)
    found = why(project, URL)
    assert found.image is not None
    assert (found.image.state, found.image.state_reason, found.label) == ("forgotten", "forgotten", None)
    assert [given.label for given in found.annotations] == ["Red"]
    assert found.sightings[0].address.reason == Reason.FORGOTTEN
    assert found.sightings[0].address.state == CandidateState.FAILED
