"""`curate classes`: the list changes though labels, splits and runs exist, and all that depends on it follows."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update

from curate import project as projects
from curate import runs
from curate.classes.adopt import adopt
from curate.classes.apply import change_classes, standing
from curate.classes.change import Change
from curate.cli.main import run
from curate.conflicts import conflicts
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.select import unlabelled
from curate.split import Gone, latest_snapshot, split
from curate.status import status
from curate.why import why
from db.errors import ConfigError, DatasetError
from db.labels import keeper_labels
from db.models import (
    Annotation,
    AnnotationState,
    Candidate,
    ChangeKind,
    ClassChange,
    Image,
    Run,
    RunState,
    Sighting,
)
from tests.conftest import Cli
from tests.pictures import write_folder

MakeProject = Callable[..., Project]


def change(project: Project, kind: str, *names: str, into: str = "", drop: bool = False) -> Project:
    """Change the classes and give the project as the next command sees it."""
    change_classes(project, Change(ChangeKind(kind), names, into), drop_labels=drop)
    project.database.close()  # opening reads the file beside SQLite: with it open twice, a process loses its locks
    return projects.open_project(project.root)


@pytest.fixture
def labelled(project: Project, tmp_path: Path) -> Project:
    """Three images of each of three classes, labelled by their folders."""
    folders = {"Red": range(3), "Green": range(3, 6), "Blue": range(6, 9)}
    import_folder(project, write_folder(tmp_path / "in", folders), labels=True)
    return project


def labels(project: Project) -> dict[int, str]:
    """The class that each image counts with."""
    with project.database.read() as session:
        names = {number: name for name, number in project.classes(session).items()}
        return {one.keeper_id: names[one.class_id] for one in keeper_labels(session) if one.class_id is not None}


def counts(project: Project) -> dict[str, int]:
    """Labelled images of each class."""
    return {name: one.labelled for name, one in status(project).classes.items()}


def text(project: Project) -> str:
    """All of `curate.toml`."""
    return (project.root / "curate.toml").read_text()


def listed(project: Project) -> tuple[list[str], list[str]]:
    """The classes in `curate.toml`, and in the database."""
    with project.database.read() as session:
        known = list(project.classes(session))
    return [entry["name"] for entry in tomllib.loads(text(project))["classes"]], known


def test_a_merge_moves_labels_and_keeps_what_was_said(labelled: Project) -> None:
    """Answers count as the class that is left; each revision still says the one that was chosen then."""
    before = labels(labelled)
    merged = change(labelled, "merge", "Red", into="Green")
    assert listed(merged) == (["Green", "Blue"], ["Green", "Blue"])
    assert labels(merged) == {image: {"Red": "Green"}.get(name, name) for image, name in before.items()}
    was_red = next(image for image, name in before.items() if name == "Red")
    (answer,) = why(merged, str(was_red)).annotations
    assert (answer.label, [revision.label for revision in answer.revisions]) == ("Green", ["Red"])
    assert counts(merged) == {"Green": 6, "Blue": 3}


def test_a_merge_can_be_taken_apart(labelled: Project) -> None:
    """Adding the class again gives it back the answers that said it, and only those."""
    before = labels(labelled)
    again = change(change(labelled, "merge", "Red", into="Green"), "add", "Red")
    assert labels(again) == before
    assert listed(again) == (["Green", "Blue", "Red"], ["Green", "Blue", "Red"])


def test_merges_of_merges_count_as_what_is_left(make_project: MakeProject, tmp_path: Path) -> None:
    """A into B, B into C: all of it is C; B added again takes along what had become B."""
    project = make_project("A", "B", "C", "D")
    folders = {"A": range(2), "B": range(2, 4), "C": range(4, 6)}
    import_folder(project, write_folder(tmp_path / "in", folders), labels=True)
    merged = change(change(project, "merge", "A", into="B"), "merge", "B", into="C")
    assert counts(merged) == {"C": 6, "D": 0}
    assert counts(change(merged, "add", "B")) == {"C": 2, "D": 0, "B": 4}


def test_a_merge_settles_a_conflict(make_project: MakeProject, tmp_path: Path) -> None:
    """One file in the folders of two classes counts as no label, until those are one class."""
    project = make_project()
    folder = write_folder(tmp_path / "in", {"Red": range(1), "Blue": range(1, 2)})
    (folder / "Green").mkdir()
    (folder / "Green" / "same.jpg").write_bytes((folder / "Red" / "0.jpg").read_bytes())
    import_folder(project, folder, labels=True)
    assert status(project).conflicts == 1
    merged = change(project, "merge", "Green", into="Red")
    assert (status(merged).conflicts, counts(merged)) == (0, {"Red": 1, "Blue": 1})
    with merged.database.read() as session:
        assert conflicts(session, merged.classes(session)) == []
    assert status(change(merged, "add", "Green")).conflicts == 1


def test_a_rename_keeps_every_label(labelled: Project) -> None:
    """Only the name changes, in its place; what was searched for still is."""
    before = labels(labelled)
    renamed = change(labelled, "rename", "Red", into="Crimson")
    assert listed(renamed)[0] == ["Crimson", "Green", "Blue"]
    assert labels(renamed) == {image: {"Red": "Crimson"}.get(name, name) for image, name in before.items()}
    assert renamed.settings.queries("Crimson") == ("Red",)
    assert standing(renamed)["Crimson"].former == ["Red"]


def test_a_rename_takes_the_name_of_what_was_merged_into_it(labelled: Project) -> None:
    """SemiHollow into Hollow, and that called SemiHollow: the name is free, since both mean the same."""
    there = change(change(labelled, "merge", "Red", into="Green"), "rename", "Green", into="Red")
    assert counts(there) == {"Red": 6, "Blue": 3}
    assert counts(change(there, "rename", "Red", into="Green")) == {"Green": 6, "Blue": 3}


def test_a_rename_in_case_alone(labelled: Project) -> None:
    """Upper and lower case are no other class, and leave no former name behind."""
    renamed = change(labelled, "rename", "red", into="RED")
    assert (listed(renamed)[0], counts(renamed)["RED"]) == (["RED", "Green", "Blue"], 3)
    assert standing(renamed)["RED"].former == []
    assert renamed.settings.queries("RED") == ("RED",)


def test_names_are_brought_to_one_form(labelled: Project) -> None:
    """A letter with its accent apart is the same as the one letter, in every argument."""
    added = change(labelled, "add", "Cafe\u0301")
    assert listed(added)[0][-1] == "Caf\u00e9"
    with pytest.raises(DatasetError, match="there is a class 'Caf\u00e9' already"):
        change(added, "rename", "Red", into="CAFE\u0301")
    assert listed(change(added, "remove", "cafe\u0301"))[1] == ["Red", "Green", "Blue"]


def test_removing_needs_a_word_about_labels(labelled: Project) -> None:
    """Without it nothing changes; with it the images wait for a label, and the answers are on record."""
    before = (listed(labelled), labels(labelled))
    with pytest.raises(DatasetError, match=r"3 answers say 'Red'.*--labels drop"):
        change(labelled, "remove", "Red")
    assert (listed(labelled), labels(labelled)) == before
    removed = change(labelled, "remove", "Red", drop=True)
    gone = {image for image, name in before[1].items() if name == "Red"}
    assert labels(removed) == {image: name for image, name in before[1].items() if name != "Red"}
    with removed.database.read() as session:
        assert {image.id for image in unlabelled(session)} == gone
        states = session.scalars(select(Annotation.state).where(Annotation.image_id.in_(gone)))
        assert set(states) == {AnnotationState.DROPPED}
    assert [revision.label for revision in why(removed, str(min(gone))).annotations[0].revisions] == ["Red"]
    assert labels(change(removed, "add", "Red")) == before[1]


def test_an_import_under_a_name_of_old_is_told(labelled: Project, cli: Cli, tmp_path: Path) -> None:
    """A folder of a class that is none any more stops an import with labels, before any work."""
    change(labelled, "merge", "Red", into="Green")
    ran = cli("import", tmp_path / "in", "--labels", "folder", "--project", labelled.root)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "subfolder 'Red'" in ran.err


def test_guesses_follow(labelled: Project) -> None:
    """What a crawl collected, and what it is to fetch next, is the class's that is left; of a removed one nobody's."""
    with labelled.database.write() as session:
        red, blue = (labelled.classes(session)[name] for name in ("Red", "Blue"))
        for number, class_id in ((1, red), (7, blue)):
            session.get_one(Image, number).collected_for_id = class_id
            found = Candidate(
                address=f"https://x.example/{number}", collected_for_id=class_id, target=f"class:{class_id}"
            )
            session.add(found)
            session.flush()
            session.add(Sighting(candidate_id=found.id, image_id=number, source="x", class_id=class_id))
    after = change(labelled, "merge", "Red", into="Green")
    after = change(change(after, "add", "Pink"), "remove", "Blue", drop=True)
    with after.database.read() as session:
        green = after.classes(session)["Green"]
        columns = (Candidate.collected_for_id, Candidate.target)
        rows = session.execute(select(*columns).where(Candidate.address.startswith("https://x.example"))).all()
        assert [tuple(row) for row in rows] == [(green, f"class:{green}"), (None, f"class:{blue}")]
        assert session.get_one(Image, 1).collected_for_id == green
        assert session.get_one(Image, 7).collected_for_id is None
    assert [seen.collected_for for seen in why(after, "1").sightings][-1] == "Green"
    assert [seen.collected_for for seen in why(after, "7").sightings][-1] == "Blue"


def finished(project: Project, name: str) -> Run:
    """A finished run on the present split."""
    with project.database.write() as session:
        snapshot = latest_snapshot(session)
        assert snapshot is not None
        run = Run(
            name=name,
            snapshot_id=snapshot.id,
            state=RunState.FINISHED,
            arch="small",
            options={},
            classes=snapshot.classes,
            validation_accuracy=0.5,
            validation_images=3,
        )
        session.add(run)
    return run


def test_the_next_split_follows_and_old_ones_keep_their_list(make_project: MakeProject, tmp_path: Path) -> None:
    """Images stay on the side they were on, under the new name; the snapshot before says what it always said."""
    project = make_project(dataset__target="3", dataset__validation="1")
    folders = {"Red": range(3), "Green": range(3, 6), "Blue": range(6, 9)}
    import_folder(project, write_folder(tmp_path / "in", folders), labels=True)
    first = split(project)
    run = finished(project, "run-1")
    with project.database.read() as session:
        sides = {item.image_id: item.side for item in latest_snapshot(session).items}  # type: ignore[union-attr]
    renamed = change(project, "rename", "Red", into="Crimson")
    second = split(renamed)
    assert (second.snapshot, list(second.classes), second.left) == (
        first.snapshot + 1,
        ["Crimson", "Green", "Blue"],
        [],
    )
    with renamed.database.read() as session:
        assert {item.image_id: item.side for item in latest_snapshot(session).items} == sides  # type: ignore[union-attr]
        best = runs.best(session, list(renamed.classes(session)))
        assert best is not None
        assert (best.name, best.classes, runs.names_now(session, best)) == (
            run.name,
            ["Red", "Green", "Blue"],
            ["Crimson", "Green", "Blue"],
        )
    red = next(image for image, name in labels(renamed).items() if name == "Crimson")
    merged = change(renamed, "merge", "Crimson", into="Blue")
    third = split(merged)
    assert {name: (one.train, one.validation) for name, one in third.classes.items()} == {
        "Green": (2, 1),
        "Blue": (2, 1),
    }
    assert {one.reason for one in third.left} == {Gone.FEWER}  # two classes' validation is one's now
    with merged.database.read() as session:
        assert runs.best(session, list(merged.classes(session))) is None
        assert runs.names_now(session, session.get_one(Run, run.id)) == ["Blue", "Green", "Blue"]
    assert [place.label for place in why(merged, str(red)).splits][:2] == ["Red", "Crimson"]
    assert [one.name for one in status(merged).runs] == ["run-1"]


TOML = """# guitars, mostly
[dataset]
name = "x" # any name
target = 3
validation = 1

# the loud one
[[classes]]
name = "Red" # not Fiesta
hotkey = "r"
queries = [
  "red guitar", # many
  "red body",
]
# the quiet one

[[classes]]
name = "Green"
queries = ["green guitar", "Red Body"]

# the sad one
[[classes]]
name = "Blue"

[quality]
enabled = false # tiny pictures
[dedup]
descriptor = "none"
"""


@pytest.fixture
def commented(project: Project) -> Project:
    """A project whose settings a person has written with care."""
    (project.root / "curate.toml").write_text(TOML)
    return projects.open_project(project.root)


@pytest.mark.parametrize(
    ("kind", "names", "into", "expected"),
    [
        ("rename", ["Red"], "Crimson", TOML.replace('"Red" #', '"Crimson" #')),
        ("rename", ["Blue"], "Sky", TOML.replace('"Blue"\n', '"Sky"\nqueries = ["Blue"]\n')),
        ("add", ["Pink"], "", TOML.replace('"Blue"\n', '"Blue"\n\n[[classes]]\nname = "Pink"\n')),
        (
            "merge",
            ["Red"],
            "Green",
            TOML.partition("[[classes]]")[0]
            + "# the quiet one\n"
            + '[[classes]]\nname = "Green"\nqueries = ["green guitar", "Red Body", "red guitar"]\n'
            + 'hotkey = "r"\n\n# the sad'
            + TOML.partition("# the sad")[2],
        ),
        (
            "remove",
            ["Green"],
            "",
            TOML.replace('[[classes]]\nname = "Green"\nqueries = ["green guitar", "Red Body"]\n\n', ""),
        ),
    ],
)
def test_comments_stay(commented: Project, kind: str, names: list[str], into: str, expected: str) -> None:
    """Of `curate.toml` only the classes change; comments beside, between and above them are still there."""
    assert text(change(commented, kind, *names, into=into)) == expected


def test_classes_in_one_line_are_changed_too(project: Project) -> None:
    """A list of inline tables is as good as sections."""
    (project.root / "curate.toml").write_text('classes = [{name = "A"}, {name = "B", queries = ["b"]}, {name = "C"}]\n')
    opened = change(projects.open_project(project.root), "merge", "A", into="B")
    opened = change(change(opened, "add", "D"), "rename", "C", into="E")
    assert tomllib.loads(text(opened))["classes"] == [
        {"name": "B", "queries": ["b", "A"]},
        {"name": "E", "queries": ["C"]},
        {"name": "D"},
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("add red", "there is a class 'Red' already"),
        ("add Pink pink", "'Pink' is given twice"),
        ("add a/b", "the class name 'a/b'"),
        ("add", "Missing argument 'NAME…'"),
        ("rename Grean Pink", "no class 'Grean'; did you mean 'Green'? There is: Red, Green, Blue"),
        ("rename Red Red", "'Red' is called so already"),
        ("rename Red green", "there is a class 'Green' already; to make the two one: `curate classes merge Red Green`"),
        ("merge Red", "`curate classes merge FROM… INTO`"),
        ("merge Red red", "'Red' cannot be merged into itself"),
        ("merge Red Purple", "no class 'Purple'; there is: Red, Green, Blue"),
        ("merge Red Green Blue", "only Blue would be left"),
        ("remove Red Green", "only Blue would be left"),
        ("remove Red Green Blue", "none would be left"),
        ("remove Red --labels keep", "'keep' is not one of 'drop'"),
        ("--json add Pink", "--project and --json come after `add`"),
        ("paint", "No such command 'paint'"),
    ],
)
def test_a_wrong_change_is_told_in_one_line(
    project: Project, arguments: str, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line says what is wrong; settings and database are as they were."""
    before = (text(project), listed(project))
    monkeypatch.chdir(project.root)
    code = run(["classes", *arguments.split()])  # in this process: a second a command is much for a long table
    out, err = capfd.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert (text(project), listed(project)) == before


def test_what_became_of_a_name_is_told(labelled: Project) -> None:
    """A class of old is not found, and the line says where it went."""
    after = change(change(labelled, "rename", "Red", into="Crimson"), "merge", "Green", into="Crimson")
    with pytest.raises(DatasetError, match=r"no class 'Red'.*\('Red' is called 'Crimson' now\)"):
        change(after, "rename", "Red", into="Pink")
    with pytest.raises(DatasetError, match=r"no class 'Green'.*\('Green' was merged into 'Crimson'\)"):
        change(after, "merge", "Green", into="Blue")


def test_a_former_name_is_free_once_nothing_says_it(labelled: Project) -> None:
    """Where no split, run or labelling project may still say it, another class may be called so; else it is refused."""
    renamed = change(labelled, "rename", "Red", into="Crimson")
    swapped = change(renamed, "rename", "Green", into="Red")
    assert counts(swapped) == {"Crimson": 3, "Red": 3, "Blue": 3}
    assert {name: one.former for name, one in standing(swapped).items()}["Crimson"] == []
    split(swapped)
    seen = change(swapped, "rename", "Red", into="Rust")
    for kind, names, into in (("add", ["Red"], ""), ("rename", ["Blue"], "red")):
        with pytest.raises(DatasetError, match=r"'Red' is the former name of 'Rust'.*choose another"):
            change(seen, kind, *names, into=into)
    assert counts(change(seen, "rename", "Rust", into="Red"))["Red"] == 3


def test_a_removed_name_is_not_taken_over(labelled: Project) -> None:
    """Answers on record say it: it can come back, but not as the name of another class."""
    removed = change(labelled, "remove", "Red", drop=True)
    with pytest.raises(DatasetError, match="'Red' was removed, and answers on record say it; bring it back"):
        change(removed, "rename", "Green", into="Red")


def test_a_hand_may_still_edit_the_list(labelled: Project) -> None:
    """Classes without use come and go by `curate.toml`, one that was merged comes back so; a label is never lost."""
    file = labelled.root / "curate.toml"
    merged = change(labelled, "merge", "Red", into="Green")
    file.write_text(text(merged).replace('name = "Blue"', 'name = "Blue"\n[[classes]]\nname = "Red"'))
    opened = projects.open_project(labelled.root)
    assert counts(opened) == {"Green": 3, "Blue": 3, "Red": 3}
    file.write_text(text(opened).replace('name = "Red"', 'name = "Rot"'))
    with pytest.raises(ConfigError, match=r"'Red' is missing .*`curate classes rename`, `merge` or `remove`"):
        projects.open_project(labelled.root)


def test_a_class_that_a_hand_brings_back_has_its_images_in_use(make_project: MakeProject, tmp_path: Path) -> None:
    """A label outweighs a quality check, however it came to count again."""
    project = make_project(quality__min_side="200")
    folders = {"Red": range(3), "Green": range(3, 6), "Blue": range(6, 9)}
    import_folder(project, write_folder(tmp_path / "in", folders), labels=True)
    before = text(project)
    removed = change(project, "remove", "Red", drop=True)
    assert status(removed).set_aside == 3
    (project.root / "curate.toml").write_text(before)
    back = projects.open_project(project.root)
    assert (counts(back)["Red"], status(back).set_aside) == (3, 0)


def test_a_class_that_only_history_says_can_go(labelled: Project) -> None:
    """An answer that was changed long ago keeps its history when its first class is taken out by hand."""
    with labelled.database.write() as session:
        ids = labelled.classes(session)
        for annotation in session.scalars(select(Annotation).where(Annotation.class_id == ids["Red"])):
            annotation.class_id, image = ids["Blue"], annotation.image_id
    file = labelled.root / "curate.toml"
    file.write_text(text(labelled).replace('[[classes]]\nname = "Red"\n', ""))
    opened = projects.open_project(labelled.root)
    assert listed(opened)[1] == ["Green", "Blue"]
    assert [revision.label for revision in why(opened, str(image)).annotations[0].revisions] == ["Red"]


@pytest.mark.parametrize("told", [True, False])
def test_a_process_that_read_the_list_before_it_changed_undoes_nothing(labelled: Project, *, told: bool) -> None:
    """Whether `curate.toml` had been written by then or not: it goes on with the new list."""
    stale, file, old = labelled.settings, labelled.root / "curate.toml", text(labelled)
    removed = change(labelled, "remove", "Red", drop=True)
    renamed = change(removed, "rename", "Green", into="Lime")
    if not told:
        file.write_text(old)
        with renamed.database.write() as session:
            session.execute(update(ClassChange).values(settings_at=None))
    settings = adopt(renamed.database, file, stale)
    assert [c.name for c in settings.classes] == ["Lime", "Blue"]
    assert listed(renamed) == (["Lime", "Blue"], ["Lime", "Blue"])
    assert counts(projects.open_project(labelled.root)) == {"Lime": 3, "Blue": 3}


BOUNDARIES = ["commit.before", "commit.after", "classes.changed", "file.written", "file.renamed", "classes.settings"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        *(("rename Red Crimson", fault) for fault in [*BOUNDARIES, "commit.before:2", "commit.after:2"]),
        *(("merge Red Green", fault) for fault in BOUNDARIES[:3]),
        *(("remove Red --labels drop", fault) for fault in BOUNDARIES[:3]),
        *(("add Pink", fault) for fault in BOUNDARIES[:3]),
    ],
)
def test_killed_anywhere_the_list_is_the_old_or_the_new(
    labelled: Project, cli: Cli, fault: str, arguments: str
) -> None:
    """Whatever comes next finds `curate.toml` and database of one mind, and the labels that belong to it."""
    labelled.database.close()
    old = (["Red", "Green", "Blue"], {"Red": 3, "Green": 3, "Blue": 3})
    new = {
        "rename": (["Crimson", "Green", "Blue"], {"Crimson": 3, "Green": 3, "Blue": 3}),
        "merge": (["Green", "Blue"], {"Green": 6, "Blue": 3}),
        "remove": (["Green", "Blue"], {"Green": 3, "Blue": 3}),
        "add": (["Red", "Green", "Blue", "Pink"], {"Red": 3, "Green": 3, "Blue": 3, "Pink": 0}),
    }[arguments.split(maxsplit=1)[0]]
    killed = cli("classes", *arguments.split(), "--project", labelled.root, env={"CURATE_FAULT": fault})
    assert killed.code == -9
    opened = projects.open_project(labelled.root)
    in_toml, in_database = listed(opened)
    assert in_toml == in_database
    assert (in_toml, counts(opened)) == (old if fault == "commit.before" else new)
    with opened.database.read() as session:
        assert all(made.settings_at for made in session.scalars(select(ClassChange)))
    opened.database.close()


def test_a_hand_after_a_kill_has_the_last_word(labelled: Project, cli: Cli) -> None:
    """Settings that were rewritten between a kill and the next command are adopted, or refused, as they are."""
    cli("classes", "rename", "Red", "Crimson", "--project", labelled.root, env={"CURATE_FAULT": "classes.changed"})
    file = labelled.root / "curate.toml"
    file.write_text(text(labelled).replace('name = "Red"', 'name = "CRIMSON"'))
    assert counts(projects.open_project(labelled.root))["CRIMSON"] == 3


def test_the_list_is_shown(labelled: Project, cli: Cli) -> None:
    """`curate classes` says of each class what it has, its key, its queries, and what it was called."""
    change(labelled, "rename", "Red", into="Crimson")
    shown = cli("classes", "--json", "--project", labelled.root, check=True).json["classes"]
    assert list(shown) == ["Crimson", "Green", "Blue"]
    assert shown["Crimson"] == {
        "images": 3,
        "labelled": 3,
        "hotkey": "1",
        "queries": ["Red"],
        "former": ["Red"],
    }
    line = cli("classes", "--project", labelled.root, check=True).out.splitlines()[1]
    assert line.split() == ["Crimson", "1", "3", "3", "Red", "Red"]
    told = cli("classes", "merge", "Blue", "Crimson", "--json", "--project", labelled.root, check=True).json
    assert (list(told["classes"]), told["moved"], told["label_studio"]) == (["Crimson", "Green"], 3, "none")
