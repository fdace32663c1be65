"""Figures: PNG of a sane size, the same bytes for the same numbers, and no name that breaks them."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from curate import plots
from curate.evaluating import bins
from tests.pictures import picture

EPOCHS = [
    {"epoch": n, "train_loss": 2 / n, "validation_loss": 2.2 / n, "validation_accuracy": 1 - 0.5 / n}
    for n in range(1, 6)
]
NAMES = ("$x$ {", "\N{HIRAGANA LETTER A}", "<b>", "a\nb", "S" * 60)


def opened(png: bytes) -> Image.Image:
    """The picture in a PNG, decoded."""
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    return image.convert("RGB")


def has(image: Image.Image, colour: str) -> bool:
    """Whether any pixel has this very colour."""
    wanted = tuple(bytes.fromhex(colour.removeprefix("#")))
    return bool((np.asarray(image) == wanted).all(-1).any())


def believed(seed: int) -> plots.Believed:
    """A hundred answers, right as often as their scores say."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.3, 1, 100)
    return plots.Believed("some", scores, bins(scores, rng.uniform(size=100) < scores))


def test_curves_have_a_line_for_each_thing_measured() -> None:
    """Training and validation each in its colour, of one epoch too; without training's loss there is no line for it."""
    both = opened(plots.curves(EPOCHS, 5))
    assert has(both, plots._BLUE)
    assert has(both, plots._ORANGE)
    alone = [{key: value for key, value in one.items() if key != "train_loss"} for one in EPOCHS]
    assert not has(opened(plots.curves(alone, 5)), plots._ORANGE)
    assert has(opened(plots.curves([{**one, "train_accuracy": 0.5} for one in alone], 5)), plots._ORANGE)
    assert plots.curves(EPOCHS, 2) != plots.curves(EPOCHS, 5)
    opened(plots.curves(EPOCHS[:1], 1))
    opened(plots.curves([{**EPOCHS[0], "validation_loss": float("nan"), "train_loss": float("inf")}], 1))


def test_figures_are_the_same_bytes_each_time() -> None:
    """Whatever the user's own settings of matplotlib are, which stay as they were."""
    counts = np.array([[3, 1], [0, 4]])
    rows = [plots.Row("a taken for b", [plots.Cell(picture(1), "image 1"), plots.Cell(None, "forgotten")])]

    def all_four() -> list[bytes]:
        return [
            plots.curves(EPOCHS, 3),
            plots.confusion_matrix(counts, ("a", "b")),
            plots.reliability(believed(1), believed(2)),
            plots.sheet(rows),
        ]

    before = all_four()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10, "savefig.bbox": "tight"}):
        assert all_four() == before
        assert mpl.rcParams["font.size"] == 30


@pytest.mark.parametrize("classes", [2, 13, 60])
def test_a_matrix_is_as_large_as_its_classes_need(classes: int) -> None:
    """Thirteen are read at a glance; sixty still fit in a picture that opens; rows without an image are blank."""
    counts = np.diag(np.arange(classes))
    image = opened(plots.confusion_matrix(counts, [f"class {n}" for n in range(classes)]))
    assert image.height / classes >= 60
    assert image.width < 6000


def test_names_of_classes_are_drawn_as_they_are() -> None:
    """Formulas, markup, other scripts and long names neither stop a figure nor raise a warning."""
    opened(plots.confusion_matrix(np.eye(len(NAMES), dtype=np.int64), NAMES))
    opened(plots.sheet([plots.Row(name, [plots.Cell(picture(1), name)]) for name in NAMES]))


def test_a_sheet_has_its_pictures_pixel_for_pixel() -> None:
    """What is small stays as it is; what is missing is a grey square; nothing wrong is a sheet, too."""
    small = Image.new("RGB", (64, 64), "#12ab34")
    sheet = np.asarray(opened(plots.sheet([plots.Row("one", [plots.Cell(small, ""), plots.Cell(None, "")])])))
    assert (sheet == (0x12, 0xAB, 0x34)).all(-1).sum() == 64 * 64
    assert (sheet == (0xEC, 0xEC, 0xEA)).all(-1).sum() > plots._SIDE**2
    opened(plots.sheet([]))


def test_a_long_name_leaves_room_for_the_cells() -> None:
    """Matplotlib warns where names take all of a figure, and draws cells that nobody can read."""
    opened(plots.confusion_matrix(np.eye(2, dtype=np.int64), ("W" * 60, "short")))
