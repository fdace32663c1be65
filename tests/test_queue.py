"""The order of the queue: by which strategy, what none may lose sight of, and what stands in for what is gone."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.dedup.layout import NAME, PARTS
from curate.edit import set_value
from curate.progress import Telling
from curate.project import Project, open_project
from curate.queue import arrange
from curate.queue.embeddings import shelf
from curate.select import Choice, choose
from curate.strategies import STRATEGIES
from db.errors import ConfigError
from db.labels import record
from db.models import Image, LabellingProject, LabellingTask, Layout, Run, TaskState
from tests.test_cli import python
from tests.test_labels import add_image, imported
from tests.test_select import add_run, predict
from trainer import features

CENTRES = np.random.default_rng(5).normal(0, 10, (6, 8))


def images(project: Project, count: int) -> list[int]:
    """Images without a label; the order of their hashes is that of their numbers."""
    with project.database.write() as session:
        for number in range(1, count + 1):
            add_image(session, number)
    return list(range(1, count + 1))


def label(project: Project, classes: Mapping[int, int]) -> None:
    """Labels by image: the number of a class, from 0."""
    with project.database.write() as session:
        ids = list(project.classes(session).values())
        record(session, [imported(number, ids[index], "a") for number, index in classes.items()])


def saw(project: Project, run_id: int, points: Mapping[int, Sequence[float] | NDArray[np.float64]]) -> None:
    """What a run saw, by image."""
    with project.database.read() as session:
        run = session.get_one(Run, run_id)
    found = {f"{number:064x}": np.array(point, np.float32) for number, point in points.items()}
    features.add(project.private / features.FOLDER, shelf(run), found)


def around(groups: Mapping[int, int], spread: float = 0.1) -> dict[int, NDArray[np.float64]]:
    """Points by image: close to those of the same group, far from all others."""
    rng = np.random.default_rng(3)
    return {number: CENTRES[group] + rng.normal(0, spread, 8) for number, group in groups.items()}


def ids(choices: Sequence[Choice]) -> list[int]:
    return [choice.id for choice in choices]


@pytest.fixture
def undecided(project: Project) -> Project:
    """Sixty-three labelled images, and twelve in six groups of two, all of which the run is as undecided about."""
    images(project, 75)
    label(project, {number: number % 3 for number in range(13, 76)})
    run = add_run(project, "r1", 1, 0.5, 50)
    groups = {number: (number - 1) // 2 for number in range(1, 13)}
    predict(project, run, {number: (number % 3, 0.4) for number in groups})
    saw(project, run, around(groups, 0.01))
    return project


def test_no_two_images_of_a_batch_are_alike(undecided: Project) -> None:
    """By what the run saw: of each group one, before there is a second of any; the reason is that it is undecided."""
    chosen = choose(undecided, 6)
    assert sorted((number - 1) // 2 for number in ids(chosen)) == [0, 1, 2, 3, 4, 5]
    assert all(choice.why.startswith("undecided; ") for choice in chosen)
    assert choose(undecided, 6) == chosen
    assert sorted(ids(choose(undecided, 99))) == list(range(1, 13))


def test_what_the_run_saw_is_done_without_and_said(undecided: Project) -> None:
    """Gone or damaged, features are no reason to fail: margin needs none."""
    for file in (undecided.private / features.FOLDER).iterdir():
        file.write_bytes(b"x")
    said: list[str] = []
    assert ids(choose(undecided, 4, progress=Telling(said.append))) == ids(choose(undecided, 4, strategy="margin"))
    assert said == ["what run r1 saw in the images is not kept: chosen by margin, not by auto"]


def test_next_loads_no_network(undecided: Project) -> None:
    """Where features are kept, the strategy chooses without torch."""
    code = f"""
import sys
from curate.cli.main import run
assert run(["next", "3", "--strategy", "auto", "--json", "--project", {str(undecided.root)!r}]) == 0
print("loaded:", [name for name in ("torch", "torchvision") if name in sys.modules])
"""
    assert python(code).splitlines()[-1] == "loaded: []"


def test_a_run_that_has_yet_to_answer_is_not_asked(undecided: Project) -> None:
    """Just trained, it knows nothing of what waits: the one before it still says what comes next, and why."""
    before = choose(undecided, 6)
    run = add_run(undecided, "r2", 2, 0.9, 50)
    assert choose(undecided, 6) == before
    predict(undecided, run, dict.fromkeys(range(1, 13), (0, 0.6)))
    assert all("Red at 0.60" in choice.why for choice in choose(undecided, 6))


def test_with_few_labels_what_is_typical_comes_first(project: Project) -> None:
    """Of two crowds the one that has no label yet, and of it not what lies at its edge."""
    images(project, 42)
    label(project, {41: 0, 42: 1})
    run = add_run(project, "r1", 1, 0.5, 50)
    points = around({number: number % 2 for number in range(1, 41)} | {41: 0, 42: 0})
    points[3] = CENTRES[1] + 4  # it lies by itself
    predict(project, run, {number: (number % 3, 0.4 + number / 100) for number in range(1, 41)})
    saw(project, run, points)
    (first,) = choose(project, 1)
    assert first.id % 2 == 1
    assert first.id != 3
    assert first.why.startswith("typical of many that have few labels; ")


def described(project: Project, groups: Mapping[int, int]) -> None:
    """What `curate dedup` saw in images."""
    with project.database.write() as session:
        for number, point in around(groups).items():
            vector = np.zeros(sum(PARTS) + 8, np.int8)
            vector[-8:] = np.rint(point * 3)
            session.add(Layout(image_id=number, method=f"{NAME} squeezenet1_1 abc", vector=vector.tobytes()))


def test_before_the_first_run_dedup_tells_what_is_typical(project: Project) -> None:
    """The pretrained network that looks for copies has seen every image: the first batch has one of each crowd."""
    groups = {number: number % 6 for number in images(project, 60)}
    described(project, groups)
    chosen = choose(project, 6)
    assert sorted(groups[number] for number in ids(chosen)) == [0, 1, 2, 3, 4, 5]
    assert {choice.why for choice in chosen} == {"typical of many that have few labels; nothing is known of it yet"}
    assert sorted(ids(choose(project, 99))) == list(groups)


def test_before_the_first_run_short_classes_have_their_share(project: Project) -> None:
    """By the query that found an image: of the class that lacks twice as many there are twice as many."""
    groups = {number: number % 6 for number in images(project, 90)}
    described(project, groups)
    target = project.settings.dataset.target
    with project.database.write() as session:
        of = list(project.classes(session).values())
        for number in range(1, 61):
            session.get_one(Image, number).collected_for_id = of[number % 2]
        for number in range(100, 100 + target // 2):
            add_image(session, number)
        record(session, [imported(number, of[0], "a") for number in range(100, 100 + target // 2)])
    chosen = choose(project, 27)
    shares = Counter("nobody" if c.id > 60 else "Green" if c.id % 2 else "Red" for c in chosen)
    assert shares == {"nobody": 9, "Green": 12, "Red": 6}
    assert sum("collected for Red, which lacks 125 of 250" in choice.why for choice in chosen) == 6


def test_without_any_network_images_come_in_an_order_that_stays(project: Project) -> None:
    """Nothing to go by: as drawn, and what is handed out changes nothing of what follows."""
    images(project, 10)
    order = ids(choose(project, 10))
    assert ids(choose(project, 4, exclude=order[:3])) == order[3:7]
    assert all(choice.why.startswith("drawn at random; ") for choice in choose(project, 10))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_asked_for(undecided: Project, name: str) -> None:
    """Each image once, the same for the same state, with the reason that the strategy goes by."""
    chosen = choose(undecided, 5, strategy=name)
    assert len(set(ids(chosen))) == 5
    assert choose(undecided, 5, strategy=name) == chosen
    words = {
        "random": "drawn at random",
        "entropy": "undecided among all classes",
        "coreset": "far from all that is labelled",
        "badge": "would change the model much",
        "typiclust": "typical of many that have few labels",
    }
    assert {choice.why.partition("; ")[0] for choice in chosen} == {words.get(name, "undecided")}


def test_the_strategy_of_the_settings_is_asked(undecided: Project) -> None:
    """`queue.strategy` says which; one that is not there is refused before it is written, and when it is asked for."""
    file = undecided.root / "curate.toml"
    set_value(file, "queue.strategy", "entropy")
    again = open_project(undecided.root)
    assert choose(again, 5) == choose(undecided, 5, strategy="entropy")
    again.database.close()
    with pytest.raises(ConfigError, match=r"queue\.strategy: no strategy 'best'; there is: random, entropy"):
        set_value(file, "queue.strategy", "best")
    with pytest.raises(ConfigError, match="no strategy 'best'"):
        choose(undecided, 5, strategy="best")


@pytest.fixture
def strange(project: Project) -> Project:
    """A hundred images, of which the run takes every fifth for none of its classes."""
    run = add_run(project, "r1", 1, 0.5, 50)
    scores = {number: (number % 3, 0.4 + number / 500) for number in images(project, 100)}
    predict(project, run, scores, outside=range(5, 101, 5))
    return project


def test_what_seems_to_be_of_no_class_is_put_aside(strange: Project) -> None:
    """At most one in ten of a batch, with that reason, spread over it; none is lost: the others come at the end."""
    chosen = choose(strange, 40, strategy="margin")
    aside = [place for place, choice in enumerate(chosen) if choice.id % 5 == 0]
    assert len(aside) == 4
    assert max(aside) - min(aside) > 20
    assert all(
        chosen[place].why.startswith("perhaps none of the classes; ") is (place in aside)
        for place in range(len(chosen))
    )
    every = choose(strange, 200, strategy="margin")
    assert sorted(ids(every)) == list(range(1, 101))
    assert all(number % 5 == 0 for number in ids(every)[-10:])
    assert sum(number % 5 == 0 for number in ids(choose(strange, 50, strategy="random"))) == 10


def test_what_is_not_predicted_yet_has_its_share(strange: Project) -> None:
    """New images do not wait until all others are labelled."""
    with strange.database.write() as session:
        for number in range(101, 126):
            add_image(session, number)
    chosen = choose(strange, 42, strategy="margin")
    new = [choice for choice in chosen if choice.id > 100]
    assert len(new) == round((42 - 4) * 25 / 105)
    assert all(choice.why == "drawn at random; nothing is known of it yet" for choice in new)


def test_images_with_people_are_as_good_as_labelled(project: Project) -> None:
    """A crowd of which one is handed out has its turn when the others have had theirs."""
    groups = {number: number % 6 for number in images(project, 60)}
    described(project, groups)
    out = [number for number in groups if groups[number] in {0, 1, 2}][:9]
    assert {groups[number] for number in out} == {0, 1, 2}
    with project.database.write() as session:
        session.add(LabellingProject(id=1, server="here", number=1, title="x", config_sha256=""))
        session.flush()
        for number in out:
            session.add(LabellingTask(project_id=1, image_id=number, data_url="", state=TaskState.THERE))
    chosen = choose(project, 3, exclude=out)
    assert sorted(groups[number] for number in ids(chosen)) == [3, 4, 5]


def test_a_long_list_is_whole(strange: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what the strategy is asked about, every image stands once, the least sure first."""
    monkeypatch.setattr(arrange, "FIRST", 20)
    first, every = choose(strange, 20), choose(strange, 100)
    assert every[:20] == first
    assert sorted(ids(every)) == list(range(1, 101))
    later = [choice.score for choice in every[20:] if choice.id % 5]
    assert later == sorted(later, key=lambda score: score or 0)


def test_a_control_arm_is_drawn_from_images_that_no_strategy_chooses(strange: Project) -> None:
    """Of every batch its share, from a fixed part of the images; whatever the strategy, the same ones."""
    set_value(strange.root / "curate.toml", "queue.control", "0.2")
    project = open_project(strange.root)
    chosen = choose(project, 30, strategy="margin")
    control = [choice for choice in chosen if choice.control]
    assert len(control) == 6
    assert all(choice.why.startswith("drawn at random; ") for choice in control)
    assert [choice for choice in choose(project, 30, strategy="entropy") if choice.control] == control
    every = choose(project, 100, strategy="margin")
    kept = {choice.id for choice in every if choice.control}
    assert 10 <= len(kept) <= 32
    assert sum(choice.id % 5 == 0 for choice in every if choice.control) > 0  # strange ones, too
    again = choose(project, 30, exclude=ids(chosen), strategy="margin")
    assert {choice.id for choice in again if choice.control} < kept - {choice.id for choice in control}
    assert not {choice.id for choice in [*chosen, *again] if not choice.control} & kept
    assert sorted(ids(every)) == list(range(1, 101))
    project.database.close()
