"""Quality checks: poor pictures are set aside with a reason, take part in dedup, and come back when told to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter, ImageFont
from sqlalchemy import delete, select, update

from curate import edit
from curate.crawl.crawl import crawl
from curate.crawl.plan import targets
from curate.crawl.sources import Credentials, make
from curate.dedup.layout import without_frame
from curate.dedup.picture import Rgb
from curate.dedup.search import dedup
from curate.demo.draw import CLASSES, draw
from curate.ingest.folder import import_folder
from curate.project import Project, open_project
from curate.quality.account import account
from curate.quality.apply import recheck, say
from curate.quality.checks import CHECKS, find
from curate.quality.measures import measure
from curate.quality.settings import QualitySettings
from curate.select import choose
from curate.split import split
from curate.status import status
from db.errors import ConfigError, DatasetError
from db.models import Image, ImageState, Label, Quality
from db.reasons import Reason
from tests.conftest import Cli
from tests.pictures import encoded
from tests.sources import openverse_work, put_openverse
from tests.web import Web

Picture = Pillow.Image
DEFAULTS = QualitySettings()


def guitar(seed: int, size: tuple[int, int] = (400, 300)) -> Picture:
    """A drawing with edges and colours, of which no check complains."""
    return draw(CLASSES[seed % len(CLASSES)], seed, max(size)).resize(size)


def blurred(seed: int = 1) -> Picture:
    """A picture out of focus."""
    return guitar(seed).filter(ImageFilter.GaussianBlur(8))


def page() -> Picture:
    """Lines of text on white."""
    canvas = Pillow.new("RGB", (600, 800), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for row in range(30, 760, 22):
        pen.text((40, row), "many words that nobody will ever want to learn from, line after line", "black", font=font)
    return canvas


def collage() -> Picture:
    """Four pictures in one, edge to edge."""
    canvas = Pillow.new("RGB", (600, 600))
    for number in range(4):
        canvas.paste(shade(guitar(number, (300, 300)), *[(0, 160), (90, 255)][number in {1, 2}]), where(number))
    return canvas


def where(number: int) -> tuple[int, int]:
    """The corner of the picture of this number."""
    return number % 2 * 300, number // 2 * 300


def gradient() -> Picture:
    """From one colour to another, with nothing in it."""
    ramp = np.linspace(40, 220, 400, dtype=np.uint8)
    return Pillow.fromarray(np.broadcast_to(ramp[None, :, None], (300, 400, 3)).copy())


def shade(picture: Picture, low: int, high: int) -> Picture:
    """The same picture, its values between these."""
    pixels = np.asarray(picture).astype(float)
    return Pillow.fromarray((low + pixels * (high - low) / 255).astype(np.uint8))


POOR = {
    "tiny": (guitar(1, (90, 80)), Reason.TOO_SMALL),
    "banner": (guitar(2, (900, 150)), Reason.ODD_ASPECT),
    "blank": (Pillow.new("RGB", (300, 200), (200, 30, 30)), Reason.BLANK),
    "gradient": (gradient(), Reason.BLANK),
    "night": (shade(guitar(3), 0, 45), Reason.DARK),
    "snow": (shade(guitar(4), 215, 255), Reason.LIGHT),
    "blurred": (blurred(), Reason.BLURRED),
    "page": (page(), Reason.TEXT),
    "collage": (collage(), Reason.COLLAGE),
}


def reason(picture: Picture, settings: QualitySettings = DEFAULTS) -> Reason | None:
    """What the checks say."""
    found = find(measure(picture, picture.convert("L")), settings)
    return None if found is None else found.reason


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project with the checks as they come."""
    return make_project(quality__enabled="true", dataset__target="4", dataset__validation="1")


def put(project: Project, folder: Path, *, labels: bool = False, **pictures: Picture) -> None:
    """Import pictures by name; with labels, into the folder of the class Red."""
    where = folder / "Red" if labels else folder
    where.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (where / f"{name}.png").write_bytes(encoded(picture, "PNG"))
    import_folder(project, folder, labels=labels)


def states(project: Project) -> list[tuple[ImageState, Reason | None]]:
    """State and reason of every image, in order."""
    with project.database.read() as session:
        return [(image.state, image.state_reason) for image in session.scalars(select(Image).order_by(Image.id))]


def under(project: Project, key: str, value: str) -> Project:
    """The same project with another threshold."""
    edit.set_value(project.root / "curate.toml", key, value)
    project.database.close()
    return open_project(project.root)


IN_USE = (ImageState.STORED, None)
BLURRED = (ImageState.SET_ASIDE, Reason.BLURRED)


@pytest.mark.parametrize("name", POOR)
def test_each_kind_of_poor_picture_is_found(name: str) -> None:
    """Each check finds what it is for, and says so; with its threshold at 0 it does not."""
    picture, expected = POOR[name]
    assert reason(picture) is expected
    key = next(check.key for check in CHECKS if check.reason is expected)
    assert reason(picture, QualitySettings.model_validate({key: 0})) is not expected


@pytest.mark.parametrize("name", CLASSES)
def test_good_pictures_pass(name: str) -> None:
    """Drawings as the demo shows them, and on white with much room around, are not set aside."""
    drawn = draw(name, 3, 240)
    padded = Pillow.new("RGB", (600, 500), "white")
    padded.paste(drawn, (200, 150))
    assert reason(drawn) is None
    assert reason(padded) is None


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 9))
@example(width=1, height=1, seed=0)
@example(width=239, height=239, seed=0)
@example(width=17, height=700, seed=0)
def test_any_size_can_be_measured(width: int, height: int, seed: int) -> None:
    """Pictures of every width and height give numbers: a fault here would refuse a good image as corrupt."""
    pixels = np.random.default_rng(seed).integers(0, 256, (1 + height // 9, 1 + width // 9, 3), dtype=np.uint8)
    picture = Pillow.fromarray(pixels).resize((width, height))
    found = measure(picture, picture.convert("L"))
    assert found["side"] == min(width, height)
    assert all(0 <= found[name] <= 1 for name in ("information", "sharpness", "text", "collage", "inside"))


@pytest.mark.parametrize("colour", ["white", "gray", (180, 20, 60)])
def test_inside_is_the_share_within_a_frame(colour: str | tuple[int, int, int]) -> None:
    """A frame of any one colour is told from the picture; without one, all of it is inside."""
    framed = Pillow.new("RGB", (800, 600), colour)
    framed.paste(guitar(5, (400, 300)), (100, 200))
    assert measure(framed, framed.convert("L"))["inside"] == pytest.approx(0.25, abs=0.03)
    assert measure(guitar(5), guitar(5).convert("L"))["inside"] == 1


@settings(max_examples=100, deadline=None)
@given(rim=st.integers(0, 255), near=st.integers(0, 30), margins=st.tuples(*[st.integers(0, 30)] * 4))
def test_a_frame_is_what_lies_near_the_median_of_the_rim(
    rim: int, near: int, margins: tuple[int, int, int, int]
) -> None:
    """Measures on record stay valid: counted fast, frames end where numpy's median and means say, to the pixel."""
    rng = np.random.default_rng(rim)
    frame = np.clip(rim + rng.integers(-near, near + 1, (90, 110, 3)), 0, 255).astype(np.uint8)
    top, bottom, left, right = margins
    frame[top : 90 - bottom, left : 110 - right] = rng.integers(0, 256, (90 - top - bottom, 110 - left - right, 3))
    cut = without_frame(frame)
    plain = frame
    for _ in range(3):
        inner = _within(plain)
        if inner.shape == plain.shape:
            break
        plain = inner[1:-1, 1:-1]
    assert np.array_equal(cut, plain)


def _within(picture: Rgb) -> Rgb:
    """What lies within a margin of one colour, by the plain definition."""
    rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    median = np.median(rim, axis=0).astype(np.uint8).astype(int)
    differs = (np.abs(picture.astype(int) - median) > 12).any(axis=2)
    rows, columns = (np.flatnonzero(differs.mean(axis=axis) > 0.01) for axis in (1, 0))
    if min(len(rows), len(columns)) < 16:
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_poor_pictures_are_set_aside_and_not_thrown_away(project: Project, tmp_path: Path) -> None:
    """An import stores them all, says no more of them than of others, and only what is good is handed out."""
    put(project, tmp_path / "in", good=guitar(1))
    for name, (picture, _) in POOR.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded(picture, "PNG"))
    import_folder(project, tmp_path / "in", labels=False)
    with project.database.read() as session:
        images = session.scalars(select(Image).order_by(Image.id)).all()
        kept = {image.sightings[0].name: (image.state, image.state_reason) for image in images}
        assert all(project.store.path(image.sha256, image.format).exists() for image in images)
    assert kept.pop("good.png") == IN_USE
    assert kept == {f"{name}.png": (ImageState.SET_ASIDE, expected) for name, (_, expected) in POOR.items()}
    assert len(choose(project, 99)) == 1


def test_what_is_set_aside_takes_part_in_dedup(project: Project, tmp_path: Path) -> None:
    """A poor copy joins the group of the good one, which stands for both; brought back, the larger stands for them."""
    put(project, tmp_path / "in", a=guitar(7, (800, 800)), b=guitar(7, (700, 700)))
    say(project, [], ["1"])
    dedup(project)
    with project.database.read() as session:
        assert [image.is_keeper for image in session.scalars(select(Image).order_by(Image.id))] == [False, True]
    say(project, ["1"], [])
    with project.database.read() as session:
        assert [image.is_keeper for image in session.scalars(select(Image).order_by(Image.id))] == [True, False]


def test_a_label_keeps_a_poor_picture_in_use(project: Project, tmp_path: Path) -> None:
    """What is imported with a label is flagged, enters the split, and stays in use when it is checked again."""
    put(project, tmp_path / "in", labels=True, a=blurred(1), b=blurred(2))
    recheck(project)
    assert states(project) == [IN_USE, IN_USE]
    found = account(project)
    assert (found.set_aside, found.flagged) == ({}, {"blurred": 2})
    assert split(project).classes["Red"].train + split(project).classes["Red"].validation == 2


def test_a_label_that_comes_later_brings_a_picture_back(project: Project, tmp_path: Path) -> None:
    """A second import, now with labels, takes what the first one set aside into use; without its label it goes."""
    put(project, tmp_path / "in", a=blurred())
    assert states(project) == [BLURRED]
    put(project, tmp_path / "labelled", labels=True, a=blurred())
    assert states(project) == [IN_USE]
    with project.database.write() as session:
        session.execute(delete(Label))
    assert recheck(project) == 1
    assert states(project) == [BLURRED]


def test_a_persons_word_outlasts_every_check(project: Project, tmp_path: Path) -> None:
    """What is kept is used though a check fails; what is set aside is not, though none does, label or not."""
    put(project, tmp_path / "in", a=blurred())
    put(project, tmp_path / "labelled", labels=True, b=guitar(2))
    say(project, ["1"], ["2"])
    for _ in range(2):
        recheck(project)
        assert states(project) == [IN_USE, (ImageState.SET_ASIDE, Reason.BY_PERSON)]
    found = account(project)
    assert (found.set_aside, found.flagged) == ({"by_person": 1}, {"blurred": 1})
    say(project, [], ["1"])
    say(project, ["2"], [])
    assert states(project) == [(ImageState.SET_ASIDE, Reason.BY_PERSON), IN_USE]


def test_words_on_what_is_no_image_are_refused(project: Project, tmp_path: Path) -> None:
    """An unknown image, a forgotten one, and one that is to be kept and set aside at once change nothing."""
    put(project, tmp_path / "in", a=guitar(1), b=guitar(2))
    with project.database.write() as session:
        session.get_one(Image, 2).state = ImageState.FORGOTTEN
    for keep, aside in ((["9"], []), (["2"], []), ([], ["2"]), (["1"], ["1"])):
        with pytest.raises(DatasetError):
            say(project, keep, aside)
    assert states(project) == [IN_USE, (ImageState.FORGOTTEN, None)]


def test_other_thresholds_bring_pictures_back(project: Project, tmp_path: Path) -> None:
    """A threshold counts from the next check on; until then the status says that it would decide otherwise."""
    put(project, tmp_path / "in", a=blurred(), b=guitar(1))
    project = under(project, "quality.min_sharpness", "0")
    assert account(project).outdated == 1
    assert recheck(project) == 1
    assert states(project) == [IN_USE, IN_USE]
    project = under(project, "quality.min_side", "1000")
    assert recheck(project) == 2
    assert account(project).set_aside == {"too_small": 2}
    project = under(project, "quality.enabled", "false")
    recheck(project)
    assert states(project) == [IN_USE, IN_USE]
    project.database.close()


def test_a_wrong_threshold_is_refused(project: Project) -> None:
    """What no picture could meet is not taken for a threshold."""
    for key, value in (("max_aspect", "0.5"), ("min_side", "-1"), ("max_text", "2"), ("min_sharp", "1")):
        with pytest.raises(ConfigError):
            edit.set_value(project.root / "curate.toml", f"quality.{key}", value)


def test_images_from_before_are_measured(project: Project, tmp_path: Path) -> None:
    """Images without measures, or with those of another method, are measured as if they came in now."""
    put(project, tmp_path / "in", a=blurred(1), b=blurred(2), c=guitar(3))
    with project.database.write() as session:
        before = {row.image_id: row.measures for row in session.scalars(select(Quality))}
        session.execute(delete(Quality).where(Quality.image_id == 1))
        session.execute(update(Quality).values(method="older", measures={}, finding=None))
        session.execute(update(Image).values(state=ImageState.STORED, state_reason=None))
    assert account(project).unchecked == 3
    assert recheck(project) == 2
    assert account(project).unchecked == 0
    with project.database.read() as session:
        assert {row.image_id: row.measures for row in session.scalars(select(Quality))} == before


def test_a_crawl_fills_a_class_with_pictures_in_use(make_project: Callable[..., Project], web: Web) -> None:
    """What is set aside counts for nothing: as many more are fetched."""
    project = make_project(
        quality__enabled="true",
        dataset__target="3",
        dataset__validation="1",
        crawl__allow_private_addresses="true",
        crawl__openverse__url=f'"{web.url}"',
    )
    files = [encoded(blurred(n) if n < 3 else guitar(n), "PNG") for n in range(9)]
    put_openverse(web, [openverse_work(n, url=web.put(f"/{n}.png", data)) for n, data in enumerate(files)])
    finders = [make("openverse", project.settings.crawl, Credentials())]
    found = crawl(project, targets(project, ["Red"], ["openverse"], None), finders).targets["Red"]
    assert found.full
    assert status(project).classes["Red"].images == 3


def test_the_commands_tell_the_same_in_json(project: Project, cli: Cli, tmp_path: Path) -> None:
    """`quality` and `status --quality` give counts that the list adds up to, and the latter changes nothing."""
    put(project, tmp_path / "in", a=blurred(), b=guitar(1))
    put(project, tmp_path / "labelled", labels=True, c=blurred(3))
    project.database.close()
    told = cli("status", "--quality", "--json", cwd=project.root, check=True).json
    assert told == cli("quality", "--json", cwd=project.root, check=True).json
    assert (told["checked"], told["set_aside"], told["flagged"]) == (3, {"blurred": 1}, {"blurred": 1})
    assert [(one["id"], one["reason"], one["in_use"]) for one in told["images"]] == [
        (1, "blurred", False),
        (3, "blurred", True),
    ]
    first = told["images"][0]
    assert first["value"] < first["threshold"] == DEFAULTS.min_sharpness
    assert (project.root / first["path"]).exists()
    after = cli("quality", "--keep", 1, "--aside", 2, "--json", cwd=project.root, check=True).json
    assert (after["set_aside"], after["flagged"]) == ({"by_person": 1}, {"blurred": 2})


def test_the_status_says_how_to_undo_it(project: Project, cli: Cli, tmp_path: Path) -> None:
    """People read the reason, the value beside the threshold, and what to type."""
    put(project, tmp_path / "in", a=blurred())
    project.database.close()
    text = cli("status", "--quality", cwd=project.root, check=True).out
    assert "1 set aside (blurred 1)" in text
    assert "curate quality --keep" in text
    assert cli("quality", "--keep", "nothing", cwd=project.root).code == 2
