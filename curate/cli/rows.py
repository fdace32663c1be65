"""Tables without lines, of which no terminal is too narrow to show all."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table

_PROSE = 24
"""Letters that a column of sentences keeps, however narrow the terminal is."""
_ANY = 10_000
"""Wider than any table."""


class Rows(Table):
    """A table whose cells are never cut: sentences break into lines, and the rest of a row stays whole."""

    def least(self, console: Console) -> int:
        """How wide it must be for that."""
        width = Measurement.get(console, console.options.update_width(_ANY), self).maximum
        return width - sum(max(0, _widest(column) - _PROSE) for column in self.columns if not column.no_wrap)


def _widest(column: Column) -> int:
    return max((cell_len(str(cell)) for cell in (column.header, *column.cells)), default=0)


def table_of(*headers: str, numbers: Iterable[str] = (), prose: Iterable[str] = ()) -> Rows:
    """Give a table; columns named in `numbers` are set to the right, those in `prose` hold sentences."""
    table = Rows(box=None, pad_edge=False)
    right, sentences = set(numbers), set(prose)
    for header in headers:
        table.add_column(
            header, justify="right" if header in right else "left", no_wrap=header not in sentences, overflow="fold"
        )
    return table


def width_for(console: Console, shown: RenderableType) -> int:
    """Letters a line for this to be shown whole: the terminal's, or more, and then the terminal breaks the rows."""
    if isinstance(shown, Group):
        return max((width_for(console, part) for part in shown.renderables), default=console.width)
    return max(console.width, shown.least(console)) if isinstance(shown, Rows) else console.width
