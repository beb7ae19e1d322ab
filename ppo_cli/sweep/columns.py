"""The columns of a sweep's live table: what tells jobs apart is always there and whole, the rest as far as it fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from ppo_cli.loggers.console import block_chart, gauge
from ppo_cli.loggers.text import duration, number
from ppo_cli.streams import plain, printable
from ppo_cli.sweep.remaining import left
from ppo_cli.sweep.view import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    PRUNED,
    RUNNING,
    WAITING,
    JobView,
    percent,
    told,
)

GAP = "  "
COLOURS = {
    RUNNING: "cyan",
    FAILED: "bold red",
    INTERRUPTED: "yellow",
    WAITING: "dim",
    FINISHED: "green",
    PRUNED: "magenta",
}
LARGEST = 1e300  # beyond, the difference of two returns is infinite
LEVELS = str.maketrans("▁▂▃▄▅▆▇█", "_.,-=+*#")


class Signs:
    """The characters that an encoding has: blocks and bars, or the nearest in ASCII.

    Args:
        encoding: That of the stream that is written to.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._blocks = encoding.lower().startswith("utf")

    def text(self, text: str) -> str:
        """A text of ours in one line."""
        return printable(text if self._blocks else plain(text, self._encoding))

    def cut(self, text: str, width: int) -> str:
        """A text that is no wider than ``width``."""
        text, mark = self.text(text), self.text("…")
        if cell_len(text) <= width:
            return text
        return set_cell_size(text, max(0, width - len(mark))).rstrip() + mark[: max(0, width)]

    def bar(self, share: float, width: int, colour: str) -> Text:
        """A bar that is filled by a share from 0 to 1."""
        return gauge(share, width, colour, "━─" if self._blocks else "#-")

    def curve(self, values: Sequence[float], width: int) -> str:
        """The values as a line of ``width`` characters; blank without any."""
        known = [max(-LARGEST, min(LARGEST, value)) for value in values if math.isfinite(value)]
        line = block_chart(known, width, 1)[0] if known else " " * width
        return line if self._blocks else line.translate(LEVELS)


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it says of a job, and how wide it is at least and at most."""

    heading: str
    cell: Callable[[Signs, JobView, int], Text]
    least: int
    most: int
    right: bool = True
    plain: Callable[[JobView], str] | None = None


def _column(heading: str, least: int, cell: Callable[[JobView], str], style: str = "") -> Column:
    def styled(signs: Signs, view: JobView, width: int) -> Text:
        return Text(signs.cut(cell(view), width), style)

    return Column(heading, styled, least, 0, plain=cell)


def _state(signs: Signs, view: JobView, _: int) -> Text:
    return Text(signs.text(view.state), COLOURS.get(view.state, ""))


def _bar(signs: Signs, view: JobView, width: int) -> Text:
    return signs.bar(view.share, width, COLOURS.get(view.state, "").removeprefix("bold "))


def _curve(signs: Signs, view: JobView, width: int) -> Text:
    return Text(signs.curve(view.returns, width), "cyan")


def _speed(view: JobView) -> str:
    return number(view.steps_per_second, 0) if view.state == RUNNING else ""


def _left(view: JobView) -> str:
    seconds = left(view) if view.state == RUNNING else None
    return "" if seconds is None else duration(seconds)


def _best(view: JobView) -> str:
    return "" if view.best_return is None else number(view.best_return, 1)


STATE = Column("state", _state, 7, 0, right=False, plain=lambda view: view.state)
SHARE = _column("", 4, lambda view: percent(view.share))
RETURN = _column("return", 7, lambda view: number(view.last_return, 1), "bold")
BAR = Column("progress", _bar, 8, 24, right=False)
CURVE = Column("curve", _curve, 8, 32, right=False)
LEFT = _column("left", 7, _left)
SPEED = _column("steps/s", 7, _speed)
BEST = _column("best", 7, _best)
STEP = _column("step", 9, lambda view: f"{view.step:,}")
ELAPSED = _column("elapsed", 7, lambda view: duration(view.elapsed))

IN_ORDER = (STATE, BAR, SHARE, RETURN, CURVE, BEST, STEP, SPEED, ELAPSED, LEFT)
"""From left to right."""
NEEDED = (STATE, SHARE, RETURN)
"""Where these do not fit beside the settings, they stand below them."""
BY_WORTH = (*NEEDED, CURVE, BAR, LEFT, SPEED, BEST, STEP, ELAPSED)
"""Those at the end go first where the screen is narrow."""


def fitting(views: Sequence[JobView], signs: Signs, width: int) -> dict[Column, int]:
    """The columns that fit into ``width``, in order, with the width of each; the state is always among them."""
    found: dict[Column, int] = {}
    for column in BY_WORTH:
        needed = _needed(column, views, signs)
        if not found:
            found[column] = min(needed, width)
        elif sum(found.values()) + len(found) * len(GAP) + needed <= width:
            found[column] = needed
    spare = width - sum(found.values()) - (len(found) - 1) * len(GAP)
    for column, part in ((BAR, 2), (CURVE, 1)):
        if column in found:
            more = min(column.most - found[column], spare // part if CURVE in found else spare)
            found[column] += more
            spare -= more
    return {column: found[column] for column in IN_ORDER if column in found}


def needed_beside(views: Sequence[JobView], signs: Signs) -> int:
    """The width that a job's state, share and return take."""
    return sum(_needed(column, views, signs) + len(GAP) for column in NEEDED)


def _needed(column: Column, views: Sequence[JobView], signs: Signs) -> int:
    texts = [column.heading] + ([column.plain(view) for view in views] if column.plain else [])
    return max(column.least, *(cell_len(signs.text(text)) for text in texts))


def headings(keys: Sequence[str]) -> list[str]:
    """A name for each setting: the last part of it where that is enough."""
    tails = [key.rpartition(".")[2] for key in keys]
    return [tail if tails.count(tail) == 1 else key for key, tail in zip(keys, tails, strict=True)]


def settings(views: Sequence[JobView], signs: Signs) -> tuple[list[str], list[list[str]]]:
    """The swept settings' headings, and their values for every job."""
    keys = list(dict.fromkeys(key for view in views for key in view.swept))
    rows = [[signs.text(told(view.swept[key])) if key in view.swept else "" for key in keys] for view in views]
    return [signs.text(name) for name in headings(keys)], rows


def folded(text: str, width: int, between: str = " ") -> Iterator[str]:
    """A text in lines that are no wider than ``width``, broken at ``between`` where that can be; nothing is lost."""
    line = ""
    for word in text.split(between):
        if line and cell_len(line + between + word) > width:
            yield line
            line = ""
        line = line + between + word if line else word
        *whole, line = chop_cells(line, width) or [""]
        yield from whole
    yield line


def padded(text: Text, width: int, right: bool) -> Text:
    """A cell as wide as its column."""
    space = Text(" " * max(0, width - text.cell_len))
    return space + text if right else text + space
