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
        folds: Characters that it keeps where there is no room and its cells go on in a next line; 0: they stay whole.
    """

    heading: str
    cells: Sequence[Text]
    rank: int = 0
    right: bool = False
    folds: int = 0

    @property
    def width(self) -> int:
        """What its longest cell takes."""
        return max(Text(self.heading).cell_len, *(cell.cell_len for cell in self.cells), 0)

    @property
    def narrowest(self) -> int:
        """What it takes at least."""
        return min(self.width, self.folds or self.width)


def table(columns: Sequence[Column], width: int) -> Table:
    """The columns that fit into a width, in their order; it is wider where those that are never left out are."""
    kept = list(columns)
    while _needed(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    made = Table(width=_needed(kept) if _needed(kept) > width else None)
    for column in kept:
        made.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=not column.folds,
            overflow="fold",
            min_width=column.narrowest,
        )
    for row in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*row)
    return made


def _needed(columns: Sequence[Column]) -> int:
    """The width that columns take at least."""
    return 1 + sum(BORDER + column.narrowest for column in columns)
