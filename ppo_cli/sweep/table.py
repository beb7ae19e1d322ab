"""The live table of a sweep in a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.console import Group as Together
from rich.logging import RichHandler
from rich.text import Text

from ppo_cli.loggers.lines import shown_by
from ppo_cli.loggers.repaint import SteadyLive
from ppo_cli.loggers.text import MISSING, counted, duration, number
from ppo_cli.places import shown
from ppo_cli.streams import steady
from ppo_cli.sweep.columns import (
    COLOURS,
    GAP,
    STATE,
    Column,
    Signs,
    fitting,
    folded,
    needed_beside,
    padded,
    settings,
)
from ppo_cli.sweep.remaining import remaining
from ppo_cli.sweep.view import (
    BETWEEN,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    WAITING,
    JobView,
    counts,
    done,
    percent,
    steps_per_second,
)

WIDEST = 160
ROOMY = 16
"""From this height on there are blank lines and the folder."""
SHOWN_FIRST = (RUNNING, FAILED, INTERRUPTED, FINISHED)
"""Where not all jobs fit, these stand there in this order, and the others are counted."""


class LiveTable:
    """A table that a thread of Rich's repaints twice a second; an update only leaves the jobs here.

    Args:
        folder: The sweep's folder.
        n_jobs: How many jobs run at a time.
        console: Where to show it.
        noun: What its rows are.
    """

    def __init__(self, folder: Path, n_jobs: int, console: Console | None = None, noun: str = "job") -> None:
        self._folder, self._n_jobs, self._noun = folder, n_jobs, noun
        self._console = console or Console(file=steady(sys.stdout), highlight=False)
        self._open = ExitStack()
        self._views: Sequence[JobView] = ()
        self._note = ""
        self._is_open = False

    def update(self, views: Sequence[JobView], note: str = "") -> None:
        """Show the jobs with the next repaint; the first time, begin to show them, and warnings above the table."""
        self._views, self._note = tuple(views), note
        if self._is_open:
            return
        self._is_open = True
        self._open.enter_context(shown_by(RichHandler(logging.WARNING, self._console, show_path=False)))
        live = SteadyLive(console=self._console, get_renderable=lambda: Together(self), refresh_per_second=2)
        self._open.enter_context(live)

    def close(self) -> None:
        """Leave a last picture standing and give the terminal back."""
        self._note = ""
        self._open.close()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table as of now."""
        signs = Signs(console.encoding)
        height = options.height or console.height
        folder, width = shown(self._folder), console.width
        yield from picture(self._views, folder, self._n_jobs, self._note, signs, width, height, self._noun)


def picture(
    views: Sequence[JobView],
    folder: Path,
    n_jobs: int,
    note: str,
    signs: Signs,
    width: int,
    height: int,
    noun: str = "job",
) -> list[Text]:
    """The table as lines: no wider than ``width`` and no more than ``height``.

    Where not all jobs fit, those that run come first, then those that failed, and the rest is counted.
    """
    width = min(width, WIDEST)
    roomy = height >= ROOMY
    top = [Text(line, "dim") for line in folded(signs.text(str(folder)), width)] if roomy else []
    top += _summary(views, n_jobs, signs, width, noun)
    bottom = [Text(signs.cut(note, width), "yellow")] if note else []
    if roomy:
        top.append(Text())
    lines = top + _jobs(views, signs, width, height - len(top) - len(bottom), noun) + bottom
    for line in lines:
        line.no_wrap = True
    return lines[:height]


def _summary(views: Sequence[JobView], n_jobs: int, signs: Signs, width: int, noun: str) -> Iterator[Text]:
    share = done(views)
    yield signs.bar(share, width - 6, "cyan").append(f"{percent(share):>6}", "bold")
    yield from _parts([counted(len(views), noun), *counts(views)], signs, width)
    if any(view.state in (RUNNING, WAITING) for view in views):
        seconds = remaining(views, n_jobs)
        speed = f"{number(steps_per_second(views), 0)} steps/s"
        yield from _parts([speed, f"{MISSING if seconds is None else duration(seconds)} left"], signs, width)


def _parts(parts: Sequence[str], signs: Signs, width: int) -> Iterator[Text]:
    """Facts in a row, in as many lines as they need; those of a state in its colour."""
    for line in folded(signs.text(BETWEEN.join(parts)), width, signs.text(BETWEEN)):
        text = Text(line)
        for state in (RUNNING, FAILED, INTERRUPTED):
            text.highlight_regex(rf"\d+ {state}", COLOURS[state])
        yield text


@dataclass(frozen=True)
class Row:
    """A job and what stands at the left of its state: its number and settings, in one line or in several."""

    view: JobView
    lead: list[str]


def _jobs(views: Sequence[JobView], signs: Signs, width: int, height: int, noun: str) -> list[Text]:
    """The heading, the jobs that fit, and how many others there are."""
    names, values = settings(views, signs)
    digits = max([len(noun), *(len(str(view.number)) for view in views)])
    widths = [max(map(cell_len, column)) for column in zip(names, *values, strict=True)]
    aside = digits + sum(len(GAP) + width for width in widths)
    beside = aside + needed_beside(views, signs) <= width and bool(names)
    if beside:
        heading = _joined(noun, names, digits, widths)
        rows = [
            Row(view, [_joined(str(view.number), own, digits, widths)]) for view, own in zip(views, values, strict=True)
        ]
    else:
        aside, heading = digits, f"{noun:>{digits}}"
        rows = [Row(view, list(_label(view, signs, digits, width))) for view in views]
    picked = _picked(rows, height - 1, 0 if beside else 1)
    columns = fitting([row.view for row in picked], signs, width - aside - len(GAP))
    lines = [_heading(heading, columns)] if picked else []
    for row in picked:
        lines += _lines(row, aside, columns, signs, width, beside)
    there = {row.view.number for row in picked}
    hidden = [view for view in views if view.number not in there]
    if hidden:
        lines.append(Text(signs.cut(f"{'…':>{digits}}{GAP}{BETWEEN.join(counts(hidden))}", width), "dim"))
    return lines


def _joined(number: str, cells: Sequence[str], digits: int, widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    return GAP.join([f"{number:>{digits}}", *padded])


def _label(view: JobView, signs: Signs, digits: int, width: int) -> Iterator[str]:
    for index, line in enumerate(folded(signs.text(view.label), width - digits - len(GAP))):
        yield f"{'' if index else view.number:>{digits}}{GAP}{line}"


def _picked(rows: Sequence[Row], height: int, below: int) -> list[Row]:
    """The jobs that fit into ``height``: all in their order, or the first by state with a line to count the others."""
    if sum(len(row.lead) + below for row in rows) <= height:
        return list(rows)
    picked: list[Row] = []
    for row in sorted((row for row in rows if row.view.state in SHOWN_FIRST), key=_place):
        height -= len(row.lead) + below
        if height < 1:
            break
        picked.append(row)
    return picked


def _place(row: Row) -> tuple[int, float]:
    """Where a job stands when not all can: by state, and then by what is most worth seeing of it."""
    view = row.view
    place = SHOWN_FIRST.index(view.state)
    if view.state == FINISHED and view.final_return is not None:
        return place, -view.final_return
    return place, view.number


def _heading(lead: str, columns: dict[Column, int]) -> Text:
    line = Text(lead, "dim")
    for column, width in columns.items():
        line.append(GAP).append_text(padded(Text(column.heading), width, column.right))
    return line


def _lines(row: Row, aside: int, columns: dict[Column, int], signs: Signs, width: int, beside: bool) -> Iterator[Text]:
    *above, last = row.lead if beside else [*row.lead, " " * aside]
    for lead in above:
        yield Text(lead)
    view, line = row.view, Text(last)
    if view.reason is None or view.state not in (FAILED, INTERRUPTED):
        for column, room in columns.items():
            started = column is STATE or view.state != WAITING or view.step > 0
            cell = column.cell(signs, view, room) if started else Text()
            line.append(GAP).append_text(padded(cell, room, column.right))
    else:
        line.append(GAP).append(f"{signs.cut(view.state, columns[STATE]):{columns[STATE]}}", COLOURS[view.state])
        line.append(GAP)
        line.append(signs.cut(view.reason, width - line.cell_len))
    line.rstrip()
    yield line
