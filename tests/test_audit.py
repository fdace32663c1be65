"""`curate audit`: wrong labels come first, what people confirm does not come again, and who errs is named."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures
from sqlalchemy import select

from curate.audit.annotators import annotators
from curate.audit.asking import decisions
from curate.audit.audit import Asked, AuditReport, audit
from curate.audit.findings import Kind, of_outliers
from curate.audit.labelled import labelled_keepers
from curate.audit.scores import judge, out_of_fold
from curate.dedup.search import dedup
from curate.ingest.folder import import_folder
from curate.project import Project
from db import reviews
from db.answers import LabelPolicy
from db.labels import Answer, keeper_labels, record
from db.models import AnnotationOrigin, AnnotationState, Image, Label, ReviewReason
from tests.conftest import CLASSES, Cli
from tests.learning import ARCH
from tests.pictures import coloured, encoded
from tests.test_labels import GREEN, RED, add_image
from tests.test_policy import ANN, BOB, CAT, answer, labelled

TRAINING = {
    "train__arch": f'"{ARCH}"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "2",
    "train__device": '"cpu"',
}
FLIPPED = {("Red", 0): "Green", ("Green", 3): "Blue", ("Blue", 5): "Red"}
"""Pictures that lie in another class's folder."""


def place(folder: Path, name: str, data: bytes) -> str:
    """Put a picture into a class's folder; give its SHA-256."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(data).hexdigest()
    (folder / name / f"{digest[:16]}.jpg").write_bytes(data)
    return digest


def fill(folder: Path, names: Sequence[str], moved: dict[tuple[str, int], str]) -> dict[str, tuple[str, str]]:
    """Sixteen pictures a class, some moved to another's folder: by SHA-256, the label that these get, and their own."""
    wrong = {}
    for index, name in enumerate(names):
        for seed in range(16):
            label = moved.get((name, seed), name)
            sha256 = place(folder, label, encoded(coloured(index, seed), quality=92))
            if label != name:
                wrong[sha256] = (label, name)
    return wrong


@pytest.fixture
def mixed(make_project: Callable[..., Project], tmp_path: Path) -> tuple[Project, dict[str, tuple[str, str]]]:
    """Sixteen pictures a class, three of them in wrong folders: by SHA-256 the label, and what they are."""
    project = make_project(*CLASSES, **TRAINING)
    wrong = fill(tmp_path / "in", CLASSES, FLIPPED)
    import_folder(project, tmp_path / "in", labels=True)
    return project, wrong


Mixed = tuple[Project, dict[str, tuple[str, str]]]


def found(report: AuditReport, kind: Kind = Kind.LABEL) -> dict[int, tuple[str, str]]:
    """Label and suggestion of each finding of a kind."""
    return {i.finding.id: (i.finding.label, i.finding.suggested) for i in report.issues if i.finding.kind is kind}


def numbers(project: Project, hashes: dict[str, tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """The same by image id."""
    with project.database.read() as session:
        rows = session.execute(select(Image.id, Image.sha256)).all()
    return {number: hashes[sha256] for number, sha256 in rows if sha256 in hashes}


def test_wrong_labels_come_first_each_with_what_it_is(mixed: Mixed) -> None:
    """Of 48 labels the three wrong ones lead, and nothing was changed by looking."""
    project, wrong = mixed
    report = audit(project, Asked())
    expected = numbers(project, wrong)
    assert dict(list(found(report).items())[:3]) == expected
    scores = [issue.finding.score for issue in report.issues]
    assert scores == sorted(scores, reverse=True)
    assert report.images == 48
    first = report.issues[0]
    assert all(name in first.finding.reason for name in expected[first.finding.id])
    with project.database.read() as session:
        like = session.get_one(Label, first.finding.like)
        assert like.class_id == project.classes(session)[first.finding.suggested]
    assert audit(project, Asked()) == report


def test_none_of_these_is_doubted_and_suggested_like_a_class(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """A picture of no class among those of one, and one of a class among those of none, come first."""
    project = make_project(*CLASSES, **TRAINING)
    none = "None of these"
    wrong = fill(tmp_path / "in", (*CLASSES, none), {("Red", 0): none, (none, 3): "Green"})
    import_folder(project, tmp_path / "in", labels=True)
    report = audit(project, Asked())
    assert dict(list(found(report).items())[:2]) == numbers(project, wrong)
    assert report.images == 64
    with project.database.read() as session:
        data = labelled_keepers(project, session)
    strange = list(of_outliers(data, np.ones(64), ()))
    assert len(strange) == 48
    assert none not in {finding.label for finding in strange}  # it says so already


def test_a_label_is_judged_by_what_was_learned_elsewhere() -> None:
    """The one image that a fold has of its kind is never known from itself; others are judged by all folds' heads."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    folds = np.tile(np.arange(5), 8)
    features = (rng.normal(size=(40, 4)) + 6 * labels[:, None]).astype(np.float32)
    labels[7] = 1  # said to be of the other class: by its own head it would be believed
    said, beside = out_of_fold(features, labels, folds, features[:2])
    assert said[7, 0] > 0.9
    assert beside.argmax(1).tolist() == [0, 0]
    judged = judge(labels, said)
    assert np.flatnonzero(judged.flagged).tolist() == [7]
    assert judged.wrong.argmax() == 7
    assert judge(labels, said, threshold=0.0).flagged.all()


def test_probabilities_hold_where_labels_are_few() -> None:
    """Of ten labels a class and many features a discriminant is sure of nearly all, and wrong half the time."""
    rng = np.random.default_rng(0)
    labels, folds = np.repeat(np.arange(10), 10), np.tile(np.arange(5), 20)
    features = rng.normal(size=(100, 2000)) + 0.12 * rng.normal(size=(10, 2000))[labels]
    said, _ = out_of_fold(features.astype(np.float32), labels, folds, np.zeros((0, 2000), np.float32))
    assert said.max(1).mean() == pytest.approx((said.argmax(1) == labels).mean(), abs=0.15)


def by_person(image: int, class_id: int, moment: datetime) -> Answer:
    """What somebody says in Label Studio."""
    return Answer(f"p{image}", AnnotationOrigin.LABEL_STUDIO, image, AnnotationState.ACTIVE, class_id, moment)


@pytest.mark.parametrize("confirms", [True, False])
def test_what_people_decide_does_not_come_again(mixed: Mixed, confirms: bool) -> None:
    """Asked about, a finding waits; once somebody has answered, it is settled whatever was said, which counts."""
    project, _ = mixed
    worst = audit(project, Asked()).issues[0]
    assert worst.ask == (worst.finding.id,)
    with project.database.write() as session:
        reviews.ask(session, worst.ask, ReviewReason.SUSPECT)
    waits = {issue.finding.id: issue.waiting for issue in audit(project, Asked()).issues}
    assert [number for number, waiting in waits.items() if waiting] == [worst.finding.id]
    said = worst.finding.label if confirms else worst.finding.suggested
    with project.database.write() as session:
        record(session, [by_person(worst.finding.id, project.classes(session)[said], datetime.now(UTC))])
    report = audit(project, Asked(threshold=0.0))
    assert worst.finding.id not in found(report)
    assert report.settled == 1
    with project.database.read() as session:
        counts = {label.keeper_id: label.class_id for label in keeper_labels(session)}
        assert counts[worst.finding.id] == project.classes(session)[said]


def test_copies_that_contradict_each_other_are_found(mixed: Mixed, tmp_path: Path) -> None:
    """One photograph in two folders: the label that it does not look like is the wrong one."""
    project, _ = mixed
    large = coloured(0, 99, (600, 450))
    place(tmp_path / "more", "Red", encoded(large, quality=92))
    place(tmp_path / "more", "Blue", encoded(large.resize((300, 225)), quality=85))
    import_folder(project, tmp_path / "more", labels=True)
    dedup(project)
    report = audit(project, Asked())
    ((number, said),) = found(report, Kind.CONFLICT).items()
    assert said == ("Blue", "Red")
    (issue,) = (issue for issue in report.issues if issue.finding.kind is Kind.CONFLICT)
    assert issue.ask == (number,)
    assert issue.finding.score > 0.5
    assert "copies are labelled differently" in issue.finding.reason


def test_an_image_like_no_other_is_found(mixed: Mixed, tmp_path: Path) -> None:
    """A chequerboard among tinted clouds, however it is labelled."""
    project, _ = mixed
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    data = encoded(Pictures.fromarray(np.stack([board] * 3, axis=2).astype(np.uint8)), "PNG")
    strange = place(tmp_path / "more", "Red", data)
    import_folder(project, tmp_path / "more", labels=True)
    report = audit(project, Asked())
    of = {issue.finding.id: issue.finding for issue in report.issues}[next(iter(numbers(project, {strange: ("", "")})))]
    assert of.kind is Kind.OUTLIER or of.suggested != "Red"
    assert found(report, Kind.OUTLIER).keys() <= {of.id}


def test_people_are_asked_where_people_have_answered(project: Project) -> None:
    """A copy that somebody labelled is asked about itself; where imports alone speak, the keeper is."""
    with project.database.write() as session:
        for number, group, keeper in ((1, 1, True), (2, 1, False), (3, 2, True), (4, 2, False)):
            add_image(session, number, group, keeper=keeper)
        record(session, [by_person(2, RED, datetime.now(UTC))])
        stand = decisions(session, [1, 3])
        assert stand.images == {1: (2,), 3: (3,)}
        reviews.ask(session, [2], ReviewReason.SUSPECT)
        assert decisions(session, [1, 3]).waiting == {1}
        record(session, [by_person(2, RED, datetime.now(UTC) + timedelta(minutes=1))])
        stand = decisions(session, [1, 3])
        assert stand.settled == {1}
        assert not stand.waiting


def test_who_errs_is_told_from_who_does_not(project: Project) -> None:
    """Doubts, overruled answers and CROWDLAB's quality all name the same person; one alone is compared with nobody."""
    rule = LabelPolicy()
    said = [answer(n, RED, who, m) for m, who in enumerate((CAT, ANN, BOB)) for n in (1, 2, 3)]
    said[0:3] = [answer(n, GREEN, CAT, 0) for n in (1, 2, 3)]
    with labelled(project, rule, *said) as session:
        sure = {n: np.array([0.9, 0.05, 0.05]) for n in (1, 2, 3)}
        people = {one.name: one for one in annotators(session, {}, sure, [RED, GREEN, 3])}
        assert (people["cat@x.org"].overruled.hits, people["ann@x.org"].overruled.hits) == (3, 0)
        quality = {name: one.quality or 0.0 for name, one in people.items()}
        assert quality["cat@x.org"] < quality["ann@x.org"]
        assert not any(one.noisy for one in people.values())


def test_labels_of_one_person_that_are_doubted_more_than_others_are_noise(project: Project) -> None:
    """Eight doubts of ten against none of thirty are no chance."""
    with project.database.write() as session:
        for number in range(1, 41):
            add_image(session, number)
        moment = datetime.now(UTC)
        record(
            session,
            [replace(by_person(n, RED, moment), annotator="cat" if n <= 10 else "ann") for n in range(1, 41)],
        )
        first, second = annotators(session, dict.fromkeys(range(1, 9), RED), {}, [RED, GREEN])
    assert (first.name.split()[0], first.found.hits, first.found.of, first.noisy) == ("cat", 8, 10, True)
    assert (second.found.hits, second.found.of, second.noisy, second.quality) == (0, 30, False, None)


def test_the_command_lists_the_worst_and_writes_a_page(mixed: Mixed, cli: Cli) -> None:
    """What DESIGN.md promises of each issue, as many as asked for, and a page that holds all its pictures."""
    project, wrong = mixed
    page = project.root / "audit.html"
    ran = cli("audit", "--most", 3, "-o", page, "--json", "--project", project.root, check=True)
    issues = ran.json["issues"]
    assert {i["id"]: (i["label"], i["suggested"]) for i in issues} == numbers(project, wrong)
    assert all((project.root / issue["path"]).is_file() for issue in issues)
    assert [issue["score"] for issue in issues] == sorted((issue["score"] for issue in issues), reverse=True)
    assert (ran.json["file"], ran.json["sent"], ran.json["images"]) == (str(page), None, 48)
    assert sum(ran.json["kinds"].values()) >= 3
    text = page.read_text()
    assert all(f"Image {issue['id']}<" in text for issue in issues)
    assert "http" not in text.replace("http-equiv", "")
    said = cli("audit", "--project", project.root, check=True)
    assert "48 labels audited" in said.out
    assert "probably wrong" in said.out
    assert ran.json["kappa"] > 0.5
    assert "label more first" not in said.out


def test_a_list_of_all_labels_calls_none_wrong(mixed: Mixed, cli: Cli) -> None:
    """What was asked for is what is said, on the page, too."""
    project, _ = mixed
    page = project.root / "audit.html"
    ran = cli("audit", "--threshold", 0, "-o", page, "--project", project.root, check=True)
    assert "48 score 0 or more" in ran.out
    assert "Labels that score 0 or more" in page.read_text()
    assert "probably wrong" not in ran.out + page.read_text()


def test_an_audit_that_knows_too_little_says_so(make_project: Callable[..., Project], cli: Cli, tmp_path: Path) -> None:
    """Of pictures that nothing tells apart, dealt into two folders; on the page as well."""
    project = make_project(*CLASSES, **TRAINING)
    for seed in range(24):
        place(tmp_path / "in", CLASSES[seed % 2], encoded(coloured(0, seed), quality=92))
    import_folder(project, tmp_path / "in", labels=True)
    page = project.root / "audit.html"
    assert cli("audit", "-o", page, "--json", "--project", project.root, check=True).json["kappa"] < 0.5
    assert "label more first" in page.read_text()
    assert "label more first" in cli("audit", "--project", project.root, check=True).out


def test_too_few_labels_and_contrary_wishes_are_told(project: Project, cli: Cli) -> None:
    """Each in one line, with exit code 2."""
    for arguments, words in (
        ((), "labels of two classes"),
        (("--retrain", "--run", "x"), "leave out one"),
        (("--catalogue", "x.csv", "--send"), "leave out --send"),
    ):
        ran = cli("audit", *arguments, "--project", project.root)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert words in ran.err
