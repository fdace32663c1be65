"""`curate audit --catalogue`: a list of others' images, judged by the best run."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.audit.catalogue import CatalogueReport, audit_catalogue
from curate.audit.offers import Offer
from curate.cli import show_audit
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from db.errors import DatasetError
from db.reasons import Reason, Refusal
from tests.conftest import Cli
from tests.pictures import coloured, encoded, jpeg, write_folder
from tests.web import Web

CLASSES = ("Red", "Green")


@pytest.fixture
def taught(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A run that tells two classes apart."""
    project = make_project(
        *CLASSES,
        train__arch='"resnet18"',
        train__init='"none"',
        train__size="32",
        train__epochs="4",
        train__device='"cpu"',
        dataset__validation="8",
        dataset__target="24",
        crawl__allow_private_addresses="true",
    )
    import_folder(project, write_folder(tmp_path / "in", {name: range(24) for name in CLASSES}), labels=True)
    split(project)
    assert train_run(project, options_from(project)).result.validation_accuracy == 1.0
    return project


def write(file: Path, rows: list[tuple[str, str]], head: tuple[str, str] = ("image", "class")) -> Path:
    """A list of images and what is claimed of them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([head, *rows])
    return file


def test_offers_of_another_class_than_claimed_are_found(taught: Project, web: Web, tmp_path: Path, cli: Cli) -> None:
    """By paths beside the list and by addresses; what cannot be judged is told by row, and ends with 1."""
    folder = write_folder(tmp_path / "shop", {"Red": range(90, 93), "Green": range(90, 93)})
    remote = web.put("/green.jpg", encoded(coloured(1, 95), quality=92), headers={"Content-Type": "image/jpeg"})
    (folder / "broken.jpg").write_bytes(jpeg(1)[:300])
    rows = [
        ("Red/90.jpg", "Red"),
        ("Red/91.jpg", "green"),
        ("Green/90.jpg", "Green"),
        (str(folder / "Green" / "91.jpg"), "Red"),
        (remote, "Red"),
        ("broken.jpg", "Red"),
        ("Green/92.jpg", "Banjo"),
        (web.url + "/gone.jpg", "Red"),
        ("nowhere.jpg", "Red"),
    ]
    file = write(folder / "list.csv", rows)
    page = tmp_path / "offers.html"
    ran = cli("audit", "--catalogue", file, "-o", page, "--json", "--project", taught.root)
    assert ran.code == 1, ran.err
    issues = {one["id"]: (one["path"], one["label"], one["suggested"]) for one in ran.json["issues"]}
    assert issues == {2: (*rows[1][:1], "Green", "Red"), 4: (*rows[3], "Green"), 5: (remote, "Red", "Green")}
    assert [one["score"] for one in ran.json["issues"]] == sorted(
        (i["score"] for i in ran.json["issues"]), reverse=True
    )
    failed = {one["id"]: one["reason"] for one in ran.json["failures"]}
    assert failed == {6: "corrupt", 7: "unknown_class", 8: "http_4xx", 9: "unreadable"}
    assert (ran.json["offers"], ran.json["file"]) == (9, str(page))
    assert page.read_text().count('src="data:image/jpeg') >= 6  # each with where the run looks


def test_other_names_of_columns_do_and_a_threshold_lists_more(taught: Project, tmp_path: Path, cli: Cli) -> None:
    """Semicolons and the headings of a shop's export; with a threshold of 0 every offer is listed, the worst first."""
    folder = write_folder(tmp_path / "shop", {"Red": range(90, 92)})
    file = folder / "offers.csv"
    file.write_text("Price;Image Path;Category\n1,50;Red/90.jpg;RED\n2;Red/91.jpg;Green\n")
    ran = cli("audit", "--catalogue", file, "--threshold", 0, "--json", "--project", taught.root, check=True)
    assert [one["id"] for one in ran.json["issues"]] == [2, 1]
    first = cli("audit", "--catalogue", file, "--most", 1, "--threshold", 0, "--json", "--project", taught.root).json
    assert ([one["id"] for one in first["issues"]], first["found"]) == ([2], 2)


def test_an_offer_that_could_not_be_judged_is_not_counted_as_judged() -> None:
    """Of 2 offers one was; the other has a line of its own."""
    failures = [(Offer(2, "gone.jpg", "Red"), Refusal(Reason.UNREADABLE, "no such file"))]
    shown = str(show_audit.catalogue(CatalogueReport("0001-x", 2, [], failures, Path()), None))
    assert shown.startswith("1 of 2 offers judged by run 0001-x")
    assert "row 2, gone.jpg: unreadable" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "no column 'image'"),
        ("image,b\n1,2\n", "no column 'class'"),
        ("image,class\n1,2,3\n", "line 2 has 3 values"),
        ("", "no column 'image'"),
    ],
)
def test_a_list_that_cannot_be_read_is_told(project: Project, tmp_path: Path, text: str, words: str) -> None:
    """What is wrong with the file is said before any network is loaded."""
    file = tmp_path / "list.csv"
    file.write_text(text)
    with pytest.raises(DatasetError, match=words):
        audit_catalogue(project, file, None, None)
