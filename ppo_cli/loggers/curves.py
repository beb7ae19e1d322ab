"""``curves.png``: the return over steps, and what else tells how training went, on one page."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.runs.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Series = NDArray[np.float64]

# Okabe and Ito's palette, which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
MOST_MARKERS = 40
INK, GREY, GRID = "#222222", "#666666", "#E6E6E6"

RETURN, EVAL, EVAL_STD = "rollout/episode_return_mean", "eval/episode_return_mean", "eval/episode_return_std"
SUCCESS = "rollout/success_rate"
PANELS = (
    ("policy loss", "train/policy_loss", BLUE),
    ("value loss", "train/value_loss", BLUE),
    ("approximate KL", "train/approx_kl", VERMILION),
    ("clip fraction", "train/clip_fraction", VERMILION),
    ("explained variance", "train/explained_variance", GREEN),
    ("entropy (nats)", "train/entropy", GREEN),
    ("gradient norm", "train/grad_norm", PURPLE),
    ("steps per second", "time/steps_per_second", PURPLE),
)
"""The small panels, row by row: title, metric and colour."""


class CurvesLogger:
    """Keeps what is plotted in memory and draws it when the run is over.

    Args:
        path: The PNG to write; it appears whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run: RunInfo | None = None
        self._columns = {
            name: array("d") for name in ("step", RETURN, EVAL, EVAL_STD, SUCCESS, *(name for _, name, _ in PANELS))
        }

    def start(self, run: RunInfo) -> None:
        """Keep what the title says, and the rows there are."""
        self._run = run
        for row in run.history:
            self.log(row)

    def log(self, row: Metrics) -> None:
        """Keep the row's values; not a number stands for None."""
        for name, column in self._columns.items():
            value = row[name]
            column.append(float("nan") if value is None else value)

    def close(self, summary: dict[str, Any]) -> None:
        """Draw and write the picture, unless the run was never started."""
        if self._run is None:
            return
        import numpy as np

        series = {name: np.array(column, dtype=np.float64) for name, column in self._columns.items()}
        write_png(draw(self._run, series, summary), self._path)


def draw(run: RunInfo, series: dict[str, Series], summary: dict[str, Any]) -> Figure:
    """The page for one run.

    Args:
        run: The run.
        series: Values by metric, all of the same length, with NaN where there is none.
        summary: What came of the run, as in ``summary.json``.
    """
    # pyplot would keep every figure and set the backend of the whole process.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.3, 7.5), dpi=150, facecolor="white")
    page = figure.add_gridspec(
        1, 2, width_ratios=(1.35, 1), left=0.055, right=0.985, top=0.835, bottom=0.085, wspace=0.14
    )
    figure.text(0.055, 0.935, run.config.env.id, size=21, weight="bold", color=INK, parse_math=False)
    figure.text(0.055, 0.895, _subtitle(run, summary), size=12, color=GREY, parse_math=False)
    _draw_returns(figure.add_subplot(page[0]), run, series)
    small = page[1].subgridspec(len(PANELS) // 2, 2, hspace=0.46, wspace=0.28)
    for index, (title, name, colour) in enumerate(PANELS):
        axes = figure.add_subplot(small[index // 2, index % 2])
        _style(axes, title, 10, run.total_timesteps if not len(series["step"]) else series["step"].max())
        _draw_line(axes, series["step"], series[name], colour, 1.6)
        axes.tick_params(labelsize=8, labelbottom=index >= len(PANELS) - 2, labelleft=axes.has_data())
    return figure


def _subtitle(run: RunInfo, summary: dict[str, Any]) -> str:
    parts = [f"seed {run.config.seed}", f"{summary['step']:,} steps"]
    if summary["final_return"] is not None:
        parts.append(f"final return {summary['final_return']:,.1f}")
    if summary["best_return"] is not None:
        parts.append(f"best evaluation {summary['best_return']:,.1f} at {summary['best_step']:,} steps")
    if summary["status"] != "finished":
        parts.append(summary["status"])
    return "  ·  ".join(parts)


def _draw_returns(axes: Axes, run: RunInfo, series: dict[str, Series]) -> None:
    import numpy as np

    steps, scores = series["step"], series[EVAL]
    _style(axes, "episode return", 13, run.total_timesteps if not len(steps) else steps.max())
    _draw_line(axes, steps, series[RETURN], BLUE, 2.8, "training, last 100 episodes")
    known = np.isfinite(scores)
    if known.any():
        spread = np.nan_to_num(series[EVAL_STD][known])
        means, label = scores[known], f"evaluation, mean ± std of {run.config.eval_episodes} episodes"
        axes.fill_between(steps[known], means - spread, means + spread, color=ORANGE, alpha=0.2, linewidth=0)
        # Markers that touch each other would hide the curve.
        size = 7 if known.sum() <= MOST_MARKERS else 0
        axes.plot(
            steps[known], means, "o-", color=ORANGE, linewidth=1.6, markersize=size, markeredgecolor="white",
            zorder=3, label=label,
        )  # fmt: skip
    _draw_success(axes, steps, series)
    if run.config.target_return is not None:
        axes.axhline(run.config.target_return, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="target")
    if not known.any() and not np.isfinite(series[RETURN]).any():
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no episode finished", transform=axes.transAxes, ha="center", size=14, color=GREY)
    axes.set_xlabel("environment steps", size=12, color=GREY)
    axes.tick_params(labelsize=11)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", frameon=True, facecolor="white", edgecolor="none", framealpha=0.85, fontsize=11)


def _draw_success(axes: Axes, steps: Series, series: dict[str, Series]) -> None:
    """The share of episodes that solved their task, on an axis of its own at the right, where episodes say so."""
    import numpy as np

    if not np.isfinite(series[SUCCESS]).any():
        return
    right = axes.twinx()
    right.set_ylim(0.0, 1.02)
    right.spines[["top", "left"]].set_visible(False)
    right.tick_params(colors=GREEN, length=0, labelsize=10)
    right.set_ylabel("success rate", size=11, color=GREEN)
    _draw_line(right, steps, series[SUCCESS], GREEN, 2.0)


def _style(axes: Axes, title: str, size: int, end: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(title, loc="left", size=size, color=INK, pad=6, y=1.0)  # where it lies anyway; to look takes long
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")
    axes.tick_params(colors=GREY, length=0)
    axes.set_xlim(0, end * 1.02)
    round_steps = (1, 2, 2.5, 5, 10)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=round_steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    axes.yaxis.set_major_locator(MaxNLocator(8 if size > 10 else 4, steps=round_steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))


def thousands(value: float) -> str:
    """A tick's number, short: 20k for 20,000 and 1.5M for 1,500,000."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:g}{letter}".replace("-", "−")
    return f"{value:,g}".replace("-", "−")


def _draw_line(axes: Axes, steps: Series, values: Series, colour: str, width: float, label: str = "") -> None:
    import numpy as np

    known = np.isfinite(values)
    if not known.any():
        return
    steps, values = steps[known], values[known]
    axes.plot(steps, values, color=colour, alpha=0.28, linewidth=1.0, solid_joinstyle="round")
    marker = "o" if len(steps) == 1 else ""
    axes.plot(steps, smooth(values), color=colour, linewidth=width, marker=marker, label=label, solid_capstyle="round")


def smooth(values: Series) -> Series:
    """A centred mean whose bell-shaped weights span an eighth of the run."""
    import numpy as np

    reach = len(values) // 16
    if reach < 1:
        return values
    weights = np.exp(-0.5 * np.linspace(-2, 2, 2 * reach + 1) ** 2)
    total: Series = np.convolve(values, weights)[reach:-reach]
    # Near the ends fewer values lie under the weights.
    under: Series = np.convolve(np.ones(len(values)), weights)[reach:-reach]
    return total / under


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    write_atomically(path, lambda draft: figure.savefig(draft, format="png"))
