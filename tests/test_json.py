"""`--json`: one object on stdout with the promised fields, whatever went wrong beside, and sums that add up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.project import Project
from tests.conftest import Cli, Ran
from tests.pictures import encoded, jpeg, picture, write_folder
from tests.web import Web


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project with a small target."""
    settings = {"dataset__target": "4", "dataset__validation": "1", "crawl__allow_private_addresses": "true"}
    settings["crawl__sources"] = '["openverse"]'
    project = make_project(**settings)
    project.database.close()
    return project


@pytest.fixture
def ask(cli: Cli, project: Project) -> Callable[..., dict[str, Any]]:
    """Run a command in the project, and give its one JSON object after checking its exit code."""

    def call(*arguments: object, code: int = 0) -> dict[str, Any]:
        return one(cli(*arguments, "--json", cwd=project.root), code)

    return call


Ask = Callable[..., dict[str, Any]]


def one(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The object, alone on one line."""
    assert ran.code == code, ran.err
    assert ran.out.endswith("}\n")
    assert ran.out.count("\n") == 1
    found: dict[str, Any] = ran.json
    return found


def test_init_tells_folder_and_classes(cli: Cli, tmp_path: Path) -> None:
    """A preset brings its classes in order; named ones are as they were given."""
    found = one(cli("init", "guitars", "--preset", "guitars", "--json", cwd=tmp_path))
    assert found["project"] == str(tmp_path / "guitars")
    assert (len(found["classes"]), found["classes"][0], found["classes"][-1]) == (13, "Stratocaster", "Acoustic")
    named = one(cli("init", tmp_path / "own", "--classes", "Cat, Dog", "--json"))
    assert named == {"project": str(tmp_path / "own"), "classes": ["Cat", "Dog"]}


def test_config_tells_key_and_value(ask: Ask) -> None:
    """What was set is what is read afterwards, in its own type; alone, every key is there."""
    assert ask("config", "dataset.target", "9") == {"key": "dataset.target", "value": 9}
    assert ask("config", "dataset.target") == {"key": "dataset.target", "value": 9}
    assert ask("config", "crawl.sources", '["openverse"]')["value"] == ["openverse"]
    assert ask("config", "dataset.name", "2017")["value"] == "2017"
    assert ask("config")["values"]["dataset.target"] == 9


def crawl_sum(found: dict[str, Any]) -> int:
    """All that became of addresses."""
    return int(found["stored"] + found["duplicates"] + found["known"] + sum(found["failed"].values()))


def test_crawl_counts_every_address_once(ask: Ask, web: Web, tmp_path: Path) -> None:
    """Stored, copies, known and failures with their reasons are all there is; failures end with 1."""
    paths = [web.put(f"/{n}.jpg", jpeg(n)) for n in range(3)]
    paths += [
        web.put("/copy.jpg", jpeg(0)),
        web.put("/text.jpg", b"hello"),
        f"{web.url}/gone.jpg",
        "ftp://x/y",
        paths[0],
    ]
    listed = tmp_path / "urls.txt"
    listed.write_text("\n".join(paths))
    found = ask("crawl", "red", "--source", f"urls={listed}", code=1)
    assert (found["stored"], found["duplicates"], found["known"]) == (3, 1, 0)
    assert found["failed"] == {"not_an_image": 1, "http_4xx": 1, "scheme_not_allowed": 1}
    assert found["found"] == crawl_sum(found) == 7
    assert found["targets"]["Red"] == {
        "stored": 3,
        "near_duplicates": 0,
        "want": None,
        "full": False,
        "sources": {"urls": 3},
        "ended": {"urls": "exhausted"},
    }
    assert found["problems"] == []
    again = ask("crawl", "red", "--source", f"urls={listed}")
    assert (again["found"], again["known"], again["failed"]) == (7, 7, {})


def test_crawl_counts_what_waits_apart(ask: Ask, web: Web, tmp_path: Path) -> None:
    """Addresses beyond what was wanted are neither lost nor counted as found; the next crawl takes them up."""
    listed = tmp_path / "urls.txt"
    listed.write_text("\n".join(web.put(f"/{n}.jpg", jpeg(n)) for n in range(6)))
    found = ask("crawl", "red", "--source", f"urls={listed}", "--max", "2")
    assert (found["stored"], found["found"], found["waiting"]) == (2, 2, 4)
    rest = ask("crawl", "red", "--source", f"urls={listed}")
    assert (rest["stored"], rest["found"]) == (4, crawl_sum(rest))
    assert ask("status")["classes"]["Red"]["images"] == 6


def test_crawl_tells_a_source_that_failed(ask: Ask, web: Web) -> None:
    """A source that cannot be asked is a problem with its reason; the object is there all the same."""
    ask("config", "crawl.openverse.url", web.url)
    found = ask("crawl", "red", code=1)
    assert found["problems"] == [
        {"source": "openverse", "query": "Red", "reason": "http_4xx", "detail": found["problems"][0]["detail"]}
    ]
    assert found["found"] == 0


def test_import_counts_every_file_once(ask: Ask, tmp_path: Path) -> None:
    """Stored, copies and failures are all files; each failure has its path and reason; failures end with 1."""
    folder = write_folder(tmp_path / "in", {"Red": range(3)})
    (folder / "Red" / "copy.jpg").write_bytes((folder / "Red" / "0.jpg").read_bytes())
    (folder / "Red" / "cut.jpg").write_bytes(jpeg(1)[:500])
    (folder / "page.jpg").write_bytes(b"<html>")
    found = ask("import", folder, "--labels", "folder", code=1)
    assert (found["stored"], found["duplicates"], found["labelled"]) == (3, 1, 3)
    assert found["failed"] == {"corrupt": 1, "not_an_image": 1}
    assert [(Path(f["path"]).name, f["reason"]) for f in found["failures"]] == [
        ("page.jpg", "not_an_image"),
        ("cut.jpg", "corrupt"),
    ]


def test_dedup_lists_groups_with_all_members(ask: Ask, tmp_path: Path) -> None:
    """The keeper is among the members; each has its id, its hash and the name that it came with."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "large.jpg").write_bytes(jpeg(1, (480, 360)))
    (folder / "small.webp").write_bytes(encoded(picture(1, (480, 360)).reduce(2), "WEBP", quality=80))
    (folder / "other.jpg").write_bytes(jpeg(2))
    ask("import", folder)
    found = ask("dedup")
    assert (found["images"], found["descriptor"]) == (3, "none")
    (group,) = found["groups"]
    assert sorted(member["name"] for member in group["members"]) == ["large.jpg", "small.webp"]
    (keeper,) = [member for member in group["members"] if member["id"] == group["keeper"]]
    assert keeper["name"] == "large.jpg"
    assert all(len(member["sha256"]) == 64 for member in group["members"])
    assert ask("dedup")["groups"] == found["groups"]


def test_split_counts_every_label(ask: Ask, cli: Cli, project: Project, tmp_path: Path) -> None:
    """Train, validation and reserve are all labelled images; short classes end with 1, and with 2 when strict."""
    ask("import", write_folder(tmp_path / "in", {"Red": range(6), "Green": range(4)}), "--labels", "folder")
    found = ask("split", code=1)
    assert found["classes"] == {
        "Red": {"train": 3, "validation": 1, "reserve": 2, "missing": 0},
        "Green": {"train": 3, "validation": 1, "reserve": 0, "missing": 0},
        "Blue": {"train": 0, "validation": 0, "reserve": 0, "missing": 4},
    }
    assert (found["conflicts"], found["snapshot"]) == ([], 1)
    strict = cli("split", "--strict", "--json", cwd=project.root)
    assert (strict.code, strict.out) == (2, "")
    assert "Blue 4" in strict.err
    ask("import", write_folder(tmp_path / "more", {"Blue": range(50, 54)}), "--labels", "folder")
    assert ask("split", "--strict")["snapshot"] == 2
    assert ask("split")["snapshot"] == 2
    assert ask("export", "csv", tmp_path / "out") == {"images": 12, "files": 13, "folder": str(tmp_path / "out")}
    assert ask("export", "coco", tmp_path / "out", "--none-of-these")["images"] == 12
    stands = ask("status")["classes"]
    assert stands["Red"] == {"images": 6, "labelled": 6, "target": 4}


def test_split_lists_conflicts(ask: Ask, tmp_path: Path) -> None:
    """A picture in the folders of two classes is left out, and listed with what was said of it."""
    folder = write_folder(tmp_path / "in", {"Red": range(2), "Green": range(1)})
    (folder / "Green" / "same.jpg").write_bytes((folder / "Red" / "0.jpg").read_bytes())
    ask("import", folder, "--labels", "folder")
    (conflict,) = ask("split", code=1)["conflicts"]
    assert conflict["labels"] == {"Red": [conflict["keeper"]], "Green": [conflict["keeper"]]}
    assert ask("status")["conflicts"] == 1
    (choice,) = ask("next")["images"]
    assert (choice["id"], choice["why"]) == (conflict["keeper"], "labels of its copies differ")


def test_next_lists_images_with_reasons(ask: Ask, project: Project, tmp_path: Path) -> None:
    """Each has its id, its path below the project, a score or none, and why it is asked for."""
    ask("import", write_folder(tmp_path / "in", {"Red": range(3)}))
    found = ask("next", "2")["images"]
    assert len(found) == 2
    for image in found:
        assert set(image) == {"id", "path", "score", "why", "control"}
        assert (project.root / image["path"]).is_file()
        assert image["why"]


def test_doctor_lists_problems(ask: Ask, project: Project, tmp_path: Path) -> None:
    """Nothing is an empty list and 0; what is wrong and not mended is 1."""
    ask("import", write_folder(tmp_path / "in", {"Red": range(2)}))
    assert ask("doctor") == {"problems": []}
    first, second = sorted(project.store.files())
    first.unlink()
    stray = second.with_name(f"{'0' * 64}.jpg")
    stray.write_bytes(b"x")
    problems = ask("doctor", code=1)["problems"]
    assert sorted(problem["kind"] for problem in problems) == ["missing", "orphan"]
    assert all(set(problem) == {"kind", "subject", "advice", "repaired"} for problem in problems)
    assert [p["repaired"] for p in ask("doctor", "--repair", code=1)["problems"]] == [False, True]
    ask("import", tmp_path / "in")
    assert ask("doctor") == {"problems": []}


def test_db_commands_tell_what_they_did(ask: Ask, project: Project) -> None:
    """Upgrade says the schema, check what is damaged, backup where the copy is."""
    assert ask("db", "upgrade")["backup"] is None
    assert ask("db", "check") == {"problems": []}
    saved = Path(ask("db", "backup")["backup"])
    assert saved.parent == project.root / "backups"
    assert saved.stat().st_size > 0
