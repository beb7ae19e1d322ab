"""A report in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ppo_cli.loggers.text import duration
from ppo_cli.places import shown
from ppo_cli.report import believed
from ppo_cli.report.columns import NARROWEST, Column, table
from ppo_cli.report.model import Group, Left, Report, Section
from ppo_cli.report.searches import Search
from ppo_cli.report.verdict import between, height, number, share

MOST_GROUPS = 40
MOST_LEFT = 12
"""Left-out folders that are named one by one."""
TITLES = {"final": "final", "area": "area under the curve"}


def render(report: Report, width: int) -> Iterator[RenderableType]:
    """What is printed, from top to bottom.

    Args:
        report: The report.
        width: Characters of a line.
    """
    for section in report.sections:
        yield Text.assemble("\n", (section.env, "bold"), (f"  {_about(section, report)}", "dim"))
        yield _table(section, report, width)
        if len(section.groups) > MOST_GROUPS:
            yield Text(f"  and {len(section.groups) - MOST_GROUPS} more groups, which are in the files")
        yield from _lines(section.sentences, "bold")
        yield from _lines(section.notes, "dim")
    for search in report.searches:
        yield from of_search(search, report, width)
    yield from _left_out(report.left_out)


def _about(section: Section, report: Report) -> str:
    words = [section.metric]
    if report.score == "final":
        words.append(f"mean of the last {share(report.last)} of a run" if report.last else "last value of a run")
    else:
        words.append(height(section))
    if section.budget is not None:
        words.append(f"{section.budget:,} steps")
    return " · ".join(words)


def _table(section: Section, report: Report, width: int) -> Table:
    groups = section.groups[:MOST_GROUPS]
    names = [Text(group.name, "bold" if not place and len(groups) > 1 else "") for place, group in enumerate(groups)]
    intervals = ["–" if group.mean_interval is None else between(group.mean_interval) for group in groups]
    worst = [f"{number(group.worst.score)} (seed {str(group.worst.seed)[:8]})" for group in groups]
    columns = [
        Column("runs", names, folds=NARROWEST),
        _column("seeds", [str(len(group.seeds)) for group in groups], 1),
        _column("mean", [number(group.mean) for group in groups], 1),
        _column(f"{share(report.level)} interval", intervals, 2),
        _column("IQM", [number(group.iqm) for group in groups], 6),
        _column("worst seed", worst, 5),
    ]
    if report.score == "final" and section.area_from is not None:
        columns.append(_column("area", [number(group.area) for group in groups], 7))
    if section.threshold is not None:
        steps, times = zip(*(threshold_cells(group) for group in groups), strict=True)
        columns += [_column(f"steps to {number(section.threshold)}", steps, 4), _column("time", times, 8)]
    if any(group.lost for group in groups):
        columns.append(_column("not counted", [_lost(group) for group in groups], 3))
    return table(columns, width)


def _column(heading: str, cells: Sequence[str], rank: int) -> Column:
    return Column(heading, [Text(cell) for cell in cells], rank, right=True)


def threshold_cells(group: Group) -> tuple[str, str]:
    """The median of steps and of time to the threshold, with how many seeds reached it where not all did."""
    count = f" ({group.reached} of {len(group.seeds)})" if group.reached != len(group.seeds) else ""
    steps, seconds = group.steps_to_threshold, group.seconds_to_threshold
    return (
        f"{'not reached' if steps is None else f'{steps:,.0f}'}{count}",
        "–" if seconds is None else duration(seconds),
    )


def _lost(group: Group) -> str:
    return ", ".join(f"{count} {state}" for state, count in group.lost.items())


def _lines(lines: tuple[str, ...], first: str) -> Iterator[RenderableType]:
    for place, line in enumerate(lines):
        style = "bold" if first == "bold" and not place else "dim" if first == "dim" else ""
        yield Padding(Text(line, style), (0, 0, 0, 2), expand=False)


def of_search(search: Search, report: Report, width: int) -> Iterator[RenderableType]:
    """What a search believed and what held, as a table and in sentences."""
    yield Text.assemble("\n", (f"Search {shown(search.folder)}", "bold"), (f"  {believed.about(search)}", "dim"))
    rows = believed.rows(search)
    if rows:
        cells = dict(zip(believed.HEAD, zip(*rows, strict=True), strict=True))
        columns = [
            _column("trial", cells["trial"], 0),
            _column("believed", cells["believed"], 1),
            _column("held", cells["held"], 1),
            _column(f"{share(report.level)} interval", cells["interval"], 2),
            _column("difference", cells["difference"], 3),
            _column("fresh seeds", cells["fresh seeds"], 4),
            Column("settings", [Text(cell) for cell in cells["settings"]], folds=NARROWEST),
        ]
        yield table(columns, width)
    yield from _lines(search.sentences, "bold")
    yield from _lines(tuple(believed.in_one_line(search)), "dim")


def _left_out(left: tuple[Left, ...]) -> Iterator[RenderableType]:
    if not left:
        return
    counts: Counter[str] = Counter()
    for one in left:
        counts[one.state] += one.count
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    yield Text(f"\nleft out: {states}")
    for one in left[:MOST_LEFT]:
        yield Text(f"  {shown(one.folder)} {one.reason}", "dim")
    if len(left) > MOST_LEFT:
        yield Text(f"  and {len(left) - MOST_LEFT} more, which are in the files", "dim")
