"""`curate.cli.rows`: tables on terminals of any width."""

import io

import pytest
from rich.console import Console, Group
from rich.text import Text

from curate.cli.rows import table_of, width_for

PATH = f"images/ab/{'ab' * 32}.jpg"
WHY = "undecided; Explorer at 0.09, which has its target, before Firebird at 0.08"


@pytest.mark.parametrize("width", [20, 60, 80, 240])
def test_no_cell_is_ever_cut(width: int) -> None:
    """A path can be copied and a number read, however narrow the terminal; sentences break between words."""
    table = table_of("image", "why", "accuracy (95 %)", "file", numbers=("image",), prose=("why",))
    table.add_row("581", Text(WHY), "0.240 (0.143 to 0.374)", Text(PATH))
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.width = width_for(console, Group("above", Group(table)))
    console.print(Group(table), soft_wrap=True)
    shown = out.getvalue()
    assert PATH in shown
    assert "0.240 (0.143 to 0.374)" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert set(WHY.split()) <= set(shown.split())
