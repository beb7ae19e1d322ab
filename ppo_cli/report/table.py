"""A report in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ppo_cli.loggers.text import duration
from ppo_cli.places import shown
from ppo_cli.report.model import Group, Left, Report, Section
from ppo_cli.report.verdict import between, number, share

MOST_LEFT = 12
"""Left-out folders that are named one by one."""
TITLES = {"final": "final", "area": "area under the curve"}


def render(report: Report) -> Iterator[RenderableType]:
    """What is printed, from top to bottom."""
    for section in report.sections:
        yield Text.assemble("\n", (section.env, "bold"), (f"  {_about(section, report)}", "dim"))
        yield _table(section, report)
        yield from _lines(section.sentences, "bold")
        yield from _lines(section.notes, "dim")
    yield from _left_out(report.left_out)


def _about(section: Section, report: Report) -> str:
    words = [section.metric]
    if report.score == "final":
        words.append(f"mean of the last {share(report.last)} of a run" if report.last else "last value of a run")
    else:
        words.append(f"mean height from step {section.area_from:,.0f} to {section.area_to:,.0f}")
    if section.budget is not None:
        words.append(f"{section.budget:,} steps")
    return " · ".join(words)


def _table(section: Section, report: Report) -> Table:
    table = Table()
    table.add_column("runs", overflow="fold")
    table.add_column("seeds", justify="right")
    for heading in ("mean", f"{share(report.level)} interval", "IQM", "worst seed"):
        table.add_column(heading, justify="right")
    if report.score == "final":
        table.add_column("area", justify="right")
    if section.threshold is not None:
        table.add_column(f"steps to {number(section.threshold)}", justify="right")
        table.add_column("time", justify="right")
    losses = any(group.lost for group in section.groups)
    if losses:
        table.add_column("not counted", justify="right")
    for place, group in enumerate(section.groups):
        name = Text(group.name, "bold" if not place and len(section.groups) > 1 else "")
        lost = [_lost(group)] if losses else []
        table.add_row(name, str(len(group.seeds)), *_numbers(group, section, report), *lost)
    return table


def _numbers(group: Group, section: Section, report: Report) -> Iterator[str]:
    yield number(group.mean)
    yield "–" if group.mean_interval is None else between(group.mean_interval)
    yield number(group.iqm)
    yield f"{number(group.worst.score)} (seed {str(group.worst.seed)[:8]})"
    if report.score == "final":
        yield number(group.area)
    if section.threshold is not None:
        yield from threshold_cells(group)


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


def _left_out(left: tuple[Left, ...]) -> Iterator[RenderableType]:
    if not left:
        return
    states = ", ".join(f"{count} {state}" for state, count in Counter(one.state for one in left).items())
    yield Text(f"\nleft out: {states}")
    for one in left[:MOST_LEFT]:
        yield Text(f"  {shown(one.folder)} {one.reason}", "dim")
    if len(left) > MOST_LEFT:
        yield Text(f"  and {len(left) - MOST_LEFT} more, which are in the files", "dim")
