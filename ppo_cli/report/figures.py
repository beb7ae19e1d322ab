"""``report.png`` and ``report.svg``: for each environment the curves, and beside them the seeds' scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_cli.loggers.curves import BLUE, GREEN, GREY, GRID, INK, ORANGE, PURPLE, SKY, VERMILION, thousands
from ppo_cli.loggers.text import counted
from ppo_cli.report.model import Group, Report, Section
from ppo_cli.report.verdict import measure, share
from ppo_cli.runs.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart; the best group has the first."""
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
"""Told apart in print without colours, too."""
PALE = "#BBBBBB"
MOST_SECTIONS = 20
WIDTH, HEIGHT, HEAD, FOOT = 10.0, 3.6, 0.34, 0.5  # inches
LONGEST_NAME = 36


def draw(report: Report) -> Figure:
    """A row for each environment."""
    # pyplot would keep every figure and set the backend of the whole process.
    from matplotlib.figure import Figure

    sections = report.sections[:MOST_SECTIONS]
    figure = Figure(figsize=(WIDTH, HEIGHT * len(sections)), facecolor="white")
    for row, section in enumerate(sections):
        top, bottom = (1 - (row + edge) / len(sections) for edge in (HEAD / HEIGHT, 1 - FOOT / HEIGHT))
        page = figure.add_gridspec(
            1, 2, width_ratios=(1.6, 1), left=0.075, right=0.985, top=top, bottom=bottom, wspace=0.1
        )
        named, others = section.groups[: len(COLOURS)], section.groups[len(COLOURS) :]
        _draw_curves(figure.add_subplot(page[0]), section, named, others, report)
        _draw_seeds(figure.add_subplot(page[1]), section, named, report)
    return figure


def _draw_curves(axes: Axes, section: Section, named: Sequence[Group], others: Sequence[Group], report: Report) -> None:
    _style(axes)
    axes.set_title(section.env, loc="left", size=12, weight="bold", color=INK, parse_math=False)
    for group in reversed(others):
        axes.plot(group.curve.at, group.curve.middle, color=PALE, linewidth=0.9)
    for place, group in reversed(list(enumerate(named))):
        colour, curve = COLOURS[place], group.curve
        for seed in group.seeds:
            axes.plot(seed.steps, seed.values, color=colour, alpha=0.22, linewidth=0.6)
        axes.fill_between(curve.at, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(
            curve.at, curve.middle, color=colour, linewidth=1.9, linestyle=DASHES[place % len(DASHES)],
            marker="o" if len(curve.at) == 1 else "",
        )  # fmt: skip
    axes.set_xlabel("environment steps", size=9, color=GREY)
    axes.set_ylabel(measure(section), size=9, color=GREY, parse_math=False)
    what = f"interquartile mean, {share(report.level)} interval, seeds"
    what += f"; grey: {counted(len(others), 'other')}" if others else ""
    axes.set_title(what, loc="right", size=8, color=GREY)
    if section.threshold is not None:
        axes.axhline(section.threshold, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            "threshold",
            (1, section.threshold),
            xycoords=axes.get_yaxis_transform(),
            ha="right",
            va="bottom",
            size=7,
            color=GREY,
        )


def _draw_seeds(axes: Axes, section: Section, named: Sequence[Group], report: Report) -> None:
    """A dot a seed, and under them the mean with its interval."""
    _style(axes, steps=False)
    axes.set_title(f"seeds, and mean with {share(report.level)} interval", loc="left", size=9, color=INK)
    for place, group in enumerate(named):
        row, colour = len(named) - 1 - place, COLOURS[place]
        across = axes.get_yaxis_transform()
        axes.plot(
            (0.01, 0.075), (row + 0.34,) * 2, color=colour, linewidth=1.9, linestyle=DASHES[place % len(DASHES)],
            transform=across,
        )  # fmt: skip
        axes.text(0.09, row + 0.34, _label(group), transform=across, va="center", size=8, color=INK, parse_math=False)
        scores = [seed.score for seed in group.seeds]
        heights = [row + 0.05 * (number % 5 - 2) for number in range(len(scores))]  # so that equal ones are seen
        axes.scatter(scores, heights, s=16, color=colour, alpha=0.6, linewidth=0)
        if group.mean_interval is not None:
            axes.plot(group.mean_interval, (row - 0.28,) * 2, color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.scatter([group.mean], [row - 0.28], s=34, color=colour, edgecolor="white", linewidth=0.8, zorder=3)
    axes.set_yticks([])
    axes.set_ylim(-0.5, len(named) - 0.5)
    what = "final" if report.score == "final" else "mean height of"
    axes.set_xlabel(f"{what} {measure(section)}", size=9, color=GREY, parse_math=False)


def _style(axes: Axes, steps: bool = True) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.grid(color=GRID, linewidth=0.8, axis="both" if steps else "x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.tick_params(colors=GREY, length=0, labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    if steps:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))


def _label(group: Group) -> str:
    name = group.name if len(group.name) <= LONGEST_NAME else f"{group.name[: LONGEST_NAME - 1]}…"
    return f"{name}  (n = {len(group.seeds)})"


def write_pictures(report: Report, png: Path, svg: Path) -> None:
    """Write the picture as both, each whole or not at all."""
    from matplotlib import rc_context

    # Letters stay letters, and the same report makes the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ppo-report"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is shown as a box
        figure = draw(report)
        write_atomically(png, lambda draft: figure.savefig(draft, format="png", dpi=200))
        write_atomically(svg, lambda draft: figure.savefig(draft, format="svg", metadata={"Date": None}))
