"""The tables of the page: cells with what they are sorted by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ppo_cli.loggers.text import duration
from ppo_cli.report.model import OPEN, TOO_FEW, Group, Report, Section
from ppo_cli.report.statistics import Interval
from ppo_cli.report.table import threshold_cells
from ppo_cli.report.verdict import between, height, number, p_value, share

MOST_MATRIX, MOST_PAIRS, MOST_RUNS = 20, 200, 1_000


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: What it shows.
        sort: What its column is sorted by: a number, a text, or ``None``, which comes last.
        group: The place of the group whose line is shown before the text; ``None`` for none.
    """

    text: str
    sort: float | str | None
    group: int | None = None

    @property
    def key(self) -> str:
        """The number it is sorted by, as short as tells it from others."""
        return f"{self.sort:.9g}" if isinstance(self.sort, float) else str(self.sort)


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        head: Its columns: title and meaning.
        rows: Its rows.
        more: How many rows are left out.
    """

    head: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    more: int = 0


@dataclass(frozen=True)
class Chance:
    """A cell of the matrix: how often a seed of the row beats one of the column; empty on the diagonal."""

    text: str
    share: float | None
    title: str
    decided: bool


def groups(section: Section, report: Report) -> Grid:
    """A row a group."""
    level = share(report.level)
    head = [
        ("runs", "settings that differ"),
        ("seeds", "runs that are counted"),
        ("mean", "of the seeds' scores"),
        (f"{level} interval", "of the mean, by bootstrap over seeds; sorted by its lower end"),
        ("IQM", "interquartile mean"),
        ("std", "standard deviation over seeds"),
        ("worst seed", "least score"),
        ("area", height(section)),
    ]
    if section.threshold is not None:
        head.append((f"steps to {number(section.threshold)}", "median over seeds of the first time"))
        head.append(("time", "median over seeds of the wall time to it"))
    losses = any(group.lost for group in section.groups)
    if losses:
        head.append(("not counted", "runs that are left out"))
    rows = (_group(place, group, section, losses) for place, group in enumerate(section.groups))
    return Grid(tuple(head), tuple(rows))


def _group(place: int, group: Group, section: Section, losses: bool) -> tuple[Cell, ...]:
    cells = [
        Cell(group.name, group.name, place),
        Cell(str(len(group.seeds)), len(group.seeds)),
        _number(group.mean),
        _interval(group.mean_interval),
        _number(group.iqm),
        _number(group.std),
        Cell(f"{number(group.worst.score)} (seed {group.worst.seed})", group.worst.score),
        _number(group.area),
    ]
    if section.threshold is not None:
        steps, time = threshold_cells(group)
        cells += [Cell(steps, group.steps_to_threshold), Cell(time, group.seconds_to_threshold)]
    if losses:
        told = ", ".join(f"{count} {state}" for state, count in group.lost.items())
        cells.append(Cell(told or "–", sum(group.lost.values())))
    return tuple(cells)


def runs(section: Section) -> Grid:
    """A row a run."""
    titles = ("runs", "seed", "score", "final", "area", "last", "steps", "wall time", "folder")
    found = [(place, group, seed) for place, group in enumerate(section.groups) for seed in group.seeds]
    rows = tuple(
        (
            Cell(group.name, group.name, place),
            Cell(str(seed.seed), seed.seed),
            *(_number(value) for value in (seed.score, seed.final, seed.area, seed.last)),
            Cell(f"{seed.step:,}", seed.step),
            Cell("–" if seed.wall_time is None else duration(seed.wall_time), seed.wall_time),
            Cell(str(seed.folder), str(seed.folder)),
        )
        for place, group, seed in found[:MOST_RUNS]
    )
    return Grid(tuple((title, "") for title in titles), rows, max(0, len(found) - MOST_RUNS))


def pairs(section: Section, report: Report) -> Grid:
    """A row a comparison."""
    head = (
        ("first", ""),
        ("second", ""),
        ("verdict", "of the first against the second"),
        ("difference", "of the means"),
        (f"{share(report.level)} interval", "of the difference, by Welch's method; sorted by its lower end"),
        ("p", "permutation test and Welch's, corrected for all pairs: what decides"),
        ("Welch's p", "of Welch's test alone, not corrected"),
    )
    rows = tuple(
        (
            *(Cell(section.groups[place].name, section.groups[place].name, place) for place in (one.first, one.second)),
            Cell(one.verdict, one.verdict),
            _number(one.difference),
            _interval(one.interval),
            Cell(p_value(one.p_adjusted), one.p_adjusted),
            Cell(p_value(one.p_welch), one.p_welch),
        )
        for one in section.pairs[:MOST_PAIRS]
    )
    return Grid(head, rows, max(0, len(section.pairs) - MOST_PAIRS))


def settings(section: Section) -> Grid:
    """A row a group, known by its rank: the settings that differ between groups, and its mean."""
    keys = list(section.differing)
    head = (("rank", "by the mean, as in all other tables"), *((key, "") for key in keys), ("mean", ""))
    rows = tuple(
        (
            Cell(str(place + 1), place + 1, place),
            *(Cell(section.differing[key][place], sortable(section.differing[key][place])) for key in keys),
            _number(group.mean),
        )
        for place, group in enumerate(section.groups)
    )
    return Grid(head, rows)


def matrix(section: Section) -> tuple[tuple[Chance, ...], ...]:
    """For each of the best groups, how often a seed of it beats one of each of them."""
    count = min(len(section.groups), MOST_MATRIX)
    found = {(pair.first, pair.second): pair for pair in section.pairs}

    def chance(row: int, column: int) -> Chance:
        pair = found.get((row, column)) or found.get((column, row))
        if row == column or pair is None:
            return Chance("", None, "", False)
        forward = pair.first == row
        improvement = pair.improvement if forward else 1 - pair.improvement
        names = f"{section.groups[row].name} beats {section.groups[column].name}: {improvement:.2f}"
        interval = pair.improvement_interval
        if interval is not None:
            low, high = interval if forward else (1 - interval.high, 1 - interval.low)
            names += f", {low:.2f} to {high:.2f}"
        return Chance(f"{improvement:.2f}", improvement, names, pair.verdict not in (OPEN, TOO_FEW))

    return tuple(tuple(chance(row, column) for column in range(count)) for row in range(count))


def _number(value: float | None) -> Cell:
    return Cell(number(value), value)


def _interval(interval: Interval | None) -> Cell:
    return Cell("–", None) if interval is None else Cell(between(interval), interval.low)


def sortable(value: str) -> float | str:
    """A setting's value as a number where it is one."""
    try:
        found = float(value)
    except ValueError:
        return value
    return found if math.isfinite(found) else value


def columns(titles: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Columns without meanings."""
    return tuple((title, "") for title in titles)
