"""Makes the README's pictures: `python -m docs.pictures demo.txt DEMO`, the demo's output and its folder.

The one of Label Studio's page is taken by the browser test: CURATE_SCREENSHOTS=docs/pictures.
"""

import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw
from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from curate.cli import show
from curate.demo.draw import CLASSES, draw
from curate.project import open_project
from curate.status import status

FOLDER = Path(__file__).parent / "pictures"
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


def main(printed: Path, demo: Path) -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    drawings().save(FOLDER / "drawings.jpg", quality=82)
    (FOLDER / "demo.svg").write_text(terminal("make demo", printed.read_text(encoding="utf-8").strip()))
    project = open_project(demo)
    (FOLDER / "status.svg").write_text(terminal("curate status", show.status(status(project))))
    project.database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
