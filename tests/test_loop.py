"""`curate loop` with the real Label Studio and a scripted annotator: five rounds, their report, and a crawl."""

import signal
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.loop import loop
from curate.progress import Telling
from curate.project import Project, open_project
from curate.rounds.account import RoundReport, account
from curate.studio import Environment
from db.errors import DatasetError
from db.models import Image, Run, SnapshotItem
from tests import prepare
from tests.conftest import Cli
from tests.labelstudio import Desk, Studio
from tests.pictures import coloured, encoded
from tests.test_crawl import work
from tests.web import Web
from trainer.files import digest

CLASSES = ("Red", "Green")
ROUNDS, BATCH = 5, 6
SETTINGS = {
    "dataset.validation": "4",
    "dataset.target": "16",
    "train.arch": "squeezenet1_1",
    "train.init": "none",
    "train.size": "32",
    "train.epochs": "1",
    "train.device": "cpu",
    "crawl.allow_private_addresses": "true",
    "crawl.sources": '["openverse"]',
}


class Person:
    """Labels whatever is open, by the tint of the picture, from the pre-label where one is shown."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.truth: dict[str, str] = {}
        self.kept = self.shown = 0

    def picture(self, index: int, seed: int) -> bytes:
        """The bytes of a picture that this person knows."""
        data = encoded(coloured(index, seed), quality=92)
        self.truth[digest(data)] = CLASSES[index]
        return data

    def work(self) -> None:
        """Answer a batch of open tasks."""
        for task in [task for task in self.desk.remote() if not task["annotations"]][:BATCH]:
            with self.desk.project.database.read() as session:
                sha256 = session.get_one(Image, self.desk.image_of(task["id"])).sha256
            seen = self.truth[sha256]
            shown = max(task["predictions"], key=lambda one: int(one["id"]), default=None)
            if shown is not None:
                self.shown += 1
                self.kept += shown["result"][0]["value"]["choices"] == [seen]
            self.desk.studio.annotate(task["id"], seen, parent_prediction=shown and shown["id"])


@pytest.fixture
def person(make_project: Callable[..., Project], studio: Studio, web: Web, tmp_path: Path) -> Person:
    """A dataset of ten pictures of each tint, and a web that has more of them."""
    project = make_project(*CLASSES, label_studio__url=f'"{studio.url}"')
    project.database.close()
    for key, value in {**SETTINGS, "crawl.openverse.url": web.url}.items():
        set_value(project.root / "curate.toml", key, value)
    project = open_project(project.root)
    desk = Desk(project, Labelling(project, Environment(prepare.cache(), studio.token)), studio)
    person = Person(desk)
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(2):
        for seed in range(10):
            (folder / f"{index}-{seed}.jpg").write_bytes(person.picture(index, seed))
    assert import_folder(project, folder, labels=False).stored == 20
    paths = {name: [f"/{index}-{seed}.jpg" for seed in range(10, 22)] for index, name in enumerate(CLASSES)}
    for index, name in enumerate(CLASSES):
        for seed, path in enumerate(paths[name], 10):
            web.put(path, person.picture(index, seed))
    web.put_openverse(lambda query: [work(web, path) for path in paths.get(query, [])])
    return person


@pytest.mark.long
def test_five_rounds_are_told_as_they_were(person: Person, cli: Cli) -> None:
    """Each round waits for its batch, learns, pre-labels, crawls and hands out; the report on record says the same."""
    desk = person.desk
    done: list[RoundReport] = []
    shown = [0]
    for one in loop(desk.project, desk.labelling, ROUNDS, BATCH, pause=person.work, crawl=True):
        done.append(one)
        shown.append(person.shown)
        assert one.prelabels_shown == shown[-1] - shown[-2]
    assert [one.round for one in done] == [1, 2, 3, 4, 5]
    assert [one.labelled for one in done] == [6, 12, 18, 24, 30]
    assert [one.pushed for one in done] == [6, 6, 6, 6, 6]
    with desk.project.database.read() as session:
        frozen = [session.scalar(select(func.count()).where(SnapshotItem.snapshot_id == one.snapshot)) for one in done]
    assert [one.learned + one.right.of for one in done] == frozen
    assert all(sum(share.of for share in one.recall.values()) == one.right.of for one in done)
    assert sum(round(one.prelabels_shown * (one.prelabels_accepted or 0)) for one in done) == person.kept
    assert done[0].prelabels_accepted is None
    assert all(one.labelling_seconds == 1.5 * BATCH for one in done)
    assert done[0].crawled.keys() == set(CLASSES)
    assert sum(done[0].crawled.values()) > 0
    found = account(desk.project)
    assert [one.run for one in found.rounds] == [one.run for one in done]
    for kept, told in zip(found.rounds, done, strict=True):
        same = ("round", "labelled", "complete", "pushed", "prelabels_accepted", "right", "recall", "waited_seconds")
        assert [getattr(kept, name) for name in same] == [getattr(told, name) for name in same]
    assert found.forecast is not None
    assert (found.forecast.labels, found.forecast.whole) == (frozen[-1], 32)
    asked = cli("status", "--loop", "--json", "--project", desk.root, check=True).json
    assert [one["labelled"] for one in asked["rounds"]] == [6, 12, 18, 24, 30]
    desk.project.database.close()


def again(person: Person, **settings: int) -> Desk:
    """The person's desk, as the next command sees it under other settings of the dataset."""
    desk = person.desk
    desk.project.database.close()
    for key, value in settings.items():
        set_value(desk.root / "curate.toml", f"dataset.{key}", str(value))
    project = open_project(desk.root)
    person.desk = Desk(project, Labelling(project, desk.labelling.environment), desk.studio)
    return person.desk


@pytest.mark.long
def test_labels_that_change_no_split_begin_no_round(person: Person) -> None:
    """They are told, and the next batch is waited for; where nothing is left to label, the loop ends well."""
    desk = again(person, validation=1, target=4)
    said: list[str] = []
    done = list(loop(desk.project, desk.labelling, ROUNDS, BATCH, Telling(said.append), person.work))
    with desk.project.database.read() as session:
        learned = list(session.scalars(select(Run.snapshot_id)))
    assert [one.snapshot for one in done] == learned == sorted(set(learned))
    assert 0 < len(done) < ROUNDS
    assert len(desk.labels()) == 20
    assert f"2 new labels change nothing of split {learned[-1]}: nothing to train on yet" in said
    assert said[-1].endswith(f"nothing is left to label: the loop ends after round {len(done)}")
    with pytest.raises(DatasetError, match="no new answer brings anything"):
        next(loop(desk.project, desk.labelling, 1, BATCH, pause=person.work))
    desk.project.database.close()


def test_answers_of_no_class_are_nothing_to_learn_from(person: Person) -> None:
    """Without a single round the loop ends in an error that says so."""
    person.truth = dict.fromkeys(person.truth, "None of these")
    desk = person.desk
    with pytest.raises(DatasetError, match="nothing is left to label; no new answer brings anything to learn from"):
        next(loop(desk.project, desk.labelling, 1, BATCH, pause=person.work))
    desk.project.database.close()


def test_a_class_may_be_added_while_people_label(person: Person, cli: Cli) -> None:
    """The round that follows learns it, pre-labels by it and looks for more of it."""
    desk = person.desk
    person.truth |= dict.fromkeys(list(person.truth)[::3], "Blue")

    def add_and_work() -> None:
        cli("classes", "add", "Blue", "--project", desk.root, env=desk.env, check=True)
        person.work()

    one = next(loop(desk.project, desk.labelling, 1, BATCH, pause=add_and_work, crawl=True))
    assert one.recall.keys() == one.crawled.keys() == {*CLASSES, "Blue"}
    assert desk.counts()["predictions"] == len(desk.images()) - BATCH
    desk.project.database.close()


def test_ctrl_c_ends_the_waiting_also_where_python_forgets_it(person: Person) -> None:
    """In the callback of a weak reference, for one; the next look for labels is not taken."""
    pauses: list[int] = []

    def interrupted() -> None:
        pauses.append(len(pauses))
        assert pauses == [0], "it went on"
        thing = Person(person.desk)
        seen = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert seen() is None

    with pytest.raises(KeyboardInterrupt):
        next(loop(person.desk.project, person.desk.labelling, 1, BATCH, pause=interrupted))
