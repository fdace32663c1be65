"""Makes the README's pictures: `python -m docs.pictures demo.txt DEMO`, the demo's output and its folder."""

import contextlib
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import expect, sync_playwright
from rich.console import Console, Group, RenderableType
from rich.terminal_theme import MONOKAI
from rich.text import Text

from curate.cli import show, show_crawl, show_images
from curate.crawl.account import account
from curate.demo.draw import CLASSES, draw
from curate.explaining import Asked, explain_pictures
from curate.labelling import Labelling
from curate.pages.duplicates import write_duplicates
from curate.pages.evaluation import write_evaluation
from curate.pages.report import write_report
from curate.project import Project, open_project
from curate.robustness import measure_run
from curate.status import status
from curate.studio import Environment
from curate.why import why
from labeler.server import USER
from labeler.signin import session_cookie
from tests import prepare

FOLDER = Path(__file__).resolve().parent / "pictures"
_SIDE, _LINE, _COLUMNS = 120, 16, 9


def drawings() -> Image.Image:
    """Draw two pictures of each class, named."""
    shown = [(name, seed) for name in CLASSES for seed in (11, 12)] + [(CLASSES[0], 13)]
    rows = -(-len(shown) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _SIDE, rows * (_SIDE + _LINE)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, seed) in enumerate(shown):
        left, top = number % _COLUMNS * _SIDE, number // _COLUMNS * (_SIDE + _LINE)
        sheet.paste(draw(name, seed, _SIDE), (left, top))
        pen.text((left + 4, top + _SIDE + 2), name, fill="black")
    return sheet


def terminal(command: str, text: RenderableType, width: int = 100) -> str:
    """Draw a terminal in which `command` printed `text`, as SVG."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(f"$ {command}", style="bold", highlight=False)
    console.print(text, highlight=False, markup=False)
    return console.export_svg(title="", theme=MONOKAI)


def labelling_page(project: Project, target: Path) -> None:
    """Take a picture of Label Studio's page with what the demo handed out last."""
    desk = Labelling(project, Environment(prepare.cache(), None))
    standing = desk.start()
    cookie = session_cookie(standing.url, USER, desk.local.credentials().password)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": standing.url}])
            page = context.new_page()
            page.goto(f"{standing.url}/projects/{standing.project}/data")
            page.get_by_role("button", name="Label All Tasks").click()
            expect(page.get_by_role("radio", checked=True)).to_be_visible(timeout=60_000)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=target)
    finally:
        desk.stop()


def page_of(file: Path, shown: str, target: Path) -> None:
    """Take a picture of a page when what the selector `shown` names is to be seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(file.as_uri())
        expect(page.locator(shown).first).to_be_visible()
        page.screenshot(path=target)


def pages(project: Project) -> None:
    """Take pictures of the pages of `curate dedup --review`, `curate evaluate` and `curate report`."""
    with tempfile.TemporaryDirectory() as folder:
        duplicates = write_duplicates(project, Path(folder) / "duplicates.html").file
        page_of(duplicates, "#groups .item", FOLDER / "duplicates.png")
        report = write_evaluation(project, path=Path(folder) / "report.html").file
        page_of(report, "img", FOLDER / "report.png")
        whole = Path(folder) / "dataset.html"
        write_report(project, whole)
        page_of(whole, "#classes", FOLDER / "dataset.png")


def explanations(project: Project) -> None:
    """Explain two drawn pictures, scribbled on and not, and measure what scribbles do to all held out."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        names = [f"{name}.jpg" for name in ("Jazzmaster", "FlyingV")]
        for name in names:
            draw(Path(name).stem, 21).save(name, quality=90)
        explain_pictures(project, names, Asked(output=FOLDER / "explain.png", scribble=2017))
    measure_run(project, None, (), FOLDER / "robustness.png")


def main(printed: Path, demo: Path) -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    drawings().save(FOLDER / "drawings.jpg", quality=82)
    (FOLDER / "demo.svg").write_text(terminal("make demo", printed.read_text(encoding="utf-8").strip()))
    project = open_project(demo.resolve())
    (FOLDER / "status.svg").write_text(terminal("curate status", show.status(status(project))))
    history = Group(
        show_crawl.account(account(project)),
        "",
        Text("$ curate why 1", style="bold"),
        show_images.why(why(project, "1")),
    )
    (FOLDER / "crawl.svg").write_text(terminal("curate status --crawl", history))
    pages(project)
    explanations(project)
    labelling_page(project, FOLDER / "labelling.png")
    project.database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
