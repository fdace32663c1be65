"""What an audit finds, on the real server: sent for review, answered, pulled, and settled."""

from pathlib import Path

import pytest

from curate.audit.audit import Asked, audit
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.project import open_project
from db.models import AnnotationState
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk
from tests.pictures import coloured, encoded
from tests.test_labelstudio_people import reviewed

_WRONG = {("Red", 0): "Green", ("Green", 1): "Red"}


@pytest.fixture
def desk(make_desk: MakeDesk, tmp_path: Path) -> Desk:
    """Twenty images that came with labels, two of them wrong; Label Studio has seen none."""
    made = make_desk(0, "Red", "Green")
    for index, name in enumerate(("Red", "Green")):
        for seed in range(10):
            folder = tmp_path / "labelled" / _WRONG.get((name, seed), name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}{seed}.jpg").write_bytes(encoded(coloured(index, seed), quality=92))
    import_folder(made.project, tmp_path / "labelled", labels=True)
    for key, value in {"arch": "squeezenet1_1", "init": "none", "size": "32", "device": "cpu"}.items():
        set_value(made.root / "curate.toml", f"train.{key}", value)
    project = open_project(made.root)
    return Desk(project, Labelling(project, made.labelling.environment), made.studio)


def test_findings_are_asked_about_and_answers_settle_them(desk: Desk, cli: Cli) -> None:
    """Labelled images get tasks and stand in the view with what was found; either answer settles it."""
    ran = cli("audit", "--most", 2, "--send", "--json", "--project", desk.root, env=desk.env, check=True)
    first, second = ran.json["issues"]
    assert ran.json["sent"] == {"asked": 2, "shown": 2}
    shown = {desk.image_of(task): (task, why) for task, why in reviewed(desk)}
    assert shown.keys() == {first["id"], second["id"]}
    for issue in (first, second):
        assert shown[issue["id"]][1].startswith(f"suspect: labelled {issue['label']}; looks like {issue['suggested']}")
    again = cli("audit", "--most", 2, "--send", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert again["sent"] == {"asked": 0, "shown": 2}
    assert [issue["waiting"] for issue in again["issues"]] == [True, True]
    assert len(desk.remote()) == 2
    desk.studio.annotate(shown[first["id"]][0], first["suggested"])
    desk.studio.annotate(shown[second["id"]][0], second["label"])
    assert desk.labelling.pull().created == 2
    assert desk.labels()[first["id"]] == first["suggested"]
    assert desk.labels()[second["id"]] == second["label"]
    assert not {first["id"], second["id"]} & {issue.finding.id for issue in audit(desk.project, Asked()).issues}
    last = cli("audit", "--most", 1, "--send", "--json", "--project", desk.root, env=desk.env, check=True).json
    assert not {first["id"], second["id"]} & {desk.image_of(task) for task, _ in reviewed(desk)}
    assert last["settled"] >= 1


def test_an_answer_kept_as_it_was_settles_it_too(desk: Desk, tmp_path: Path, cli: Cli) -> None:
    """A person's own answer is doubted; saved unchanged after the question, not before, it counts as decided."""
    more = tmp_path / "more"
    more.mkdir()
    (more / "red.jpg").write_bytes(encoded(coloured(0, 77), quality=92))
    import_folder(desk.project, more, labels=False)
    desk.labelling.push()
    task = desk.task()
    number, image = desk.studio.annotate(task, "Green"), desk.image_of(task)
    desk.labelling.pull()
    assert image in {issue.finding.id for issue in audit(desk.project, Asked()).issues}
    desk.studio.edit(number, "Green")
    cli("audit", "--send", "--project", desk.root, env=desk.env, check=True)
    assert desk.labelling.pull().updated == 0
    assert audit(desk.project, Asked()).settled == 0
    assert (task, True) in {(shown, "Green (" in why) for shown, why in reviewed(desk)}
    desk.studio.edit(number, "Green")
    assert desk.labelling.pull().updated == 1
    (answer,) = (a for a in desk.annotations() if a.image_id == image)
    assert (answer.state, len(answer.revisions)) == (AnnotationState.ACTIVE, 3)
    report = audit(desk.project, Asked())
    assert image not in {issue.finding.id for issue in report.issues}
    assert report.settled == 1
