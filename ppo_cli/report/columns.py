"""Tables for terminals: columns that find no room are left out, the least important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

BORDER = 3
"""Characters around a cell: a line and two blanks; one more line ends the row."""
NARROWEST = 24
"""Characters that a folded column keeps."""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        heading: Its heading.
        cells: A cell a row.
        rank: How soon it is left out: the greatest first, 0 never.
        right: Whether its cells stand at the right.
    """

    heading: str
    cells: Sequence[Text]
    rank: int = 0
    right: bool = False

    @property
    def width(self) -> int:
        """What its longest cell takes."""
        return max(Text(self.heading).cell_len, *(cell.cell_len for cell in self.cells), 0)


def table(columns: Sequence[Column], width: int) -> Table:
    """The columns that fit into a width, in their order."""
    kept = list(columns)
    while _needed(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    made = Table()
    for column in kept:
        narrowest = min(column.width, NARROWEST)
        made.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=column.rank > 0,
            overflow="fold",
            min_width=narrowest if column.rank == 0 else None,
        )
    for row in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*row)
    return made


def _needed(columns: Sequence[Column]) -> int:
    """The width that columns take, those that are never left out folded where they are long."""
    return 1 + sum(BORDER + (column.width if column.rank else min(column.width, NARROWEST)) for column in columns)
