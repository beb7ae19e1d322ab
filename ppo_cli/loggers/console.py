"""The live display of a run in a terminal."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.logging import RichHandler
from rich.panel import Panel
from rich.text import Text

from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.lines import shown_by
from ppo_cli.loggers.metrics import Metrics
from ppo_cli.loggers.repaint import SteadyLive
from ppo_cli.loggers.text import Pace, duration, number
from ppo_cli.places import shown
from ppo_cli.streams import steady

WIDEST = 120
CHART_HEIGHT = 4
LABEL_WIDTH = 10
CELL_WIDTH = 24
"""Of the table of metrics: the longest name, a space and a number in scientific notation."""
GAP = 2
BLOCKS = " ▁▂▃▄▅▆▇█"
CELLS = (
    (
        ("policy loss", "train/policy_loss", 4),
        ("value loss", "train/value_loss", 4),
        ("grad. norm", "train/grad_norm", 3),
    ),
    (
        ("approx. KL", "train/approx_kl", 4),
        ("clip fraction", "train/clip_fraction", 3),
        ("learning rate", "train/lr", 6),
    ),
    (
        ("entropy", "train/entropy", 3),
        ("expl. variance", "train/explained_variance", 3),
        ("episode length", "rollout/episode_length_mean", 1),
    ),
)
"""The table of metrics, column by column: what to call it, which it is, and with how many decimals."""

# The terminal's own colours, and only on bars, so that text is readable in light themes as well as in dark ones.
PHASES = (("collect", "cyan"), ("update", "magenta"), ("evaluate", "green"))


class LiveDisplay:
    """A panel that a thread of Rich's repaints twice a second; an iteration only leaves its row here.

    Args:
        console: Where to show it.
        clock: Seconds from any fixed point on.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(file=steady(sys.stdout))
        self._clock = clock
        self._open = ExitStack()
        self._row: Metrics = {}
        self._returns: list[float] = []
        self._eval: float | None = None
        self._best: float | None = None
        self._spent = [0.0 for _ in PHASES]
        self._status: str | None = None

    def start(self, run: RunInfo) -> None:
        """Show the panel, and warnings above it, from now on."""
        self._run = run
        self._pace = Pace(run.total_timesteps)
        self._seen = self._clock()
        for row in run.history:
            self.log(row)
        warnings = RichHandler(logging.WARNING, self._console, show_path=False)
        self._open.enter_context(shown_by(warnings))
        live = SteadyLive(console=self._console, get_renderable=lambda: Group(self), refresh_per_second=2)
        self._open.enter_context(live)

    def log(self, row: Metrics) -> None:
        """Keep the row for the next repaint."""
        self._row, self._seen = row, self._clock()
        self._pace.add(row)
        value = row["rollout/episode_return_mean"]
        if value is not None and math.isfinite(value):
            self._returns.append(value)
        score = row["eval/episode_return_mean"]
        if score is not None:
            self._eval = score
            if math.isfinite(score):
                self._best = score if self._best is None else max(self._best, score)
        self._spent = [spent + (row[f"time/{name}"] or 0) for spent, (name, _) in zip(self._spent, PHASES, strict=True)]

    def close(self, summary: dict[str, Any]) -> None:
        """Leave a last picture standing and give the terminal back."""
        self._status = summary["status"]
        self._open.close()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The panel as of now, with the run's folder below it, where it can be copied without the frame."""
        width = min(options.max_width, WIDEST)
        config = self._run.config
        panel = Panel(
            Group(*self._body(width - 4)),
            title=Text.assemble("PPO · ", (config.env.id, "bold"), f" · seed {config.seed}", style="default"),
            title_align="left",
            subtitle=Text(f"{self._run.num_parameters:,} parameters · {config.device}", "dim"),
            subtitle_align="right",
            border_style="dim",
            width=width,
        )
        yield panel
        yield Text(f"  {shown(self._run.run_dir)}", overflow="fold")

    def _body(self, width: int) -> Iterator[Text]:
        yield self._bar(width)
        yield self._clockwork()
        yield Text()
        yield self._scores()
        yield from self._chart(width)
        yield Text()
        yield from self._metrics(width)
        yield Text()
        yield self._phases(width)

    def _bar(self, width: int) -> Text:
        share = min(1.0, (self._row.get("step") or 0) / self._run.total_timesteps)
        return gauge(share, width - 6, "cyan").append(f"{share:>6.0%}", "bold")

    def _clockwork(self) -> Text:
        since = self._clock() - self._seen
        parts = [
            f"{self._row.get('step') or 0:,} of {self._run.total_timesteps:,} steps",
            f"{number(self._row.get('time/steps_per_second'), 0)} steps/s",
            f"{duration((self._row.get('time/elapsed') or 0) + since)} elapsed",
        ]
        remaining = self._pace.remaining()
        if self._status is not None:
            parts.append(self._status)
        elif remaining is not None:
            parts.append(f"{duration(remaining - since)} left")
        return Text(" · ".join(parts))

    def _scores(self) -> Text:
        text = Text.assemble(("return  ", "dim"))
        if self._returns:
            text.append(number(self._row["rollout/episode_return_mean"], 1), "bold")
        else:
            text.append("no episode finished yet")
        if self._eval is not None:
            text.append("   evaluation  ", "dim").append(number(self._eval, 1), "bold")
            text.append("   best  ", "dim").append(number(self._best, 1), "bold")
        return text

    def _chart(self, width: int) -> Iterator[Text]:
        labels = [""] * CHART_HEIGHT
        if self._returns:
            labels[0], labels[-1] = number(max(self._returns), 1), number(min(self._returns), 1)
        lines = block_chart(self._returns, width - LABEL_WIDTH - 2, CHART_HEIGHT)
        for label, line in zip(labels, lines, strict=True):
            yield Text.assemble((f"{label:>{LABEL_WIDTH}} │", "dim"), (line, "cyan"))

    def _metrics(self, width: int) -> Iterator[Text]:
        cells = [(label, number(self._row.get(name), decimals)) for label, name, decimals in sum(CELLS, ())]
        needed = max([CELL_WIDTH, *(len(label) + 1 + len(value) for label, value in cells)])
        columns = max(1, min(len(CELLS), (width + GAP) // (needed + GAP)))
        lines = math.ceil(len(cells) / columns)
        column = (width - GAP * (columns - 1)) // columns
        for first in range(lines):
            line = Text()
            for label, value in cells[first::lines]:
                line.append(" " * GAP if line else "").append(label, "dim")
                line.append(f"{value:>{max(len(value) + 1, column - len(label))}}")
            yield line

    def _phases(self, width: int) -> Text:
        total = sum(self._spent)
        text = Text()
        room = max(3, (width - 50) // len(PHASES)) if width >= 54 else 0
        for (name, colour), spent in zip(PHASES, self._spent, strict=True):
            share = spent / total if total else 0.0
            text.append("   " if text else "").append(f"{name} ", "dim")
            text.append_text(gauge(share, room, colour)).append(f"{share:>5.0%}")
        return text


def gauge(share: float, width: int, colour: str, signs: str = "━─") -> Text:
    """A bar of ``width`` characters, filled by a share from 0 to 1; ``signs`` are what is filled and what is not."""
    filled = round(share * width)
    return Text.assemble((signs[0] * filled, colour), (signs[1] * (width - filled), "dim"))


def block_chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """An area chart of block characters, ``height`` lines of ``width``, between the values' minimum and maximum.

    More values than columns are averaged, fewer are joined by straight lines; without values it is empty.
    """
    if not values:
        return [""] * height
    columns = _resample(values, width)
    low, high = min(values), max(values)
    steps = len(BLOCKS) - 1
    span = (high - low) or 1.0
    # A column is one eighth high at least: its minimum is a value as well.
    eighths = [1 + round((value - low) / span * (height * steps - 1)) for value in columns]
    return [
        "".join(BLOCKS[max(0, min(steps, eighth - steps * line))] for eighth in eighths)
        for line in reversed(range(height))
    ]


def _resample(values: Sequence[float], width: int) -> list[float]:
    count = len(values)
    if count >= width:
        edges = [column * count // width for column in range(width + 1)]
        return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    places = [column * (count - 1) / max(1, width - 1) for column in range(width)]
    return [
        values[int(place)] + (place - int(place)) * (values[min(int(place) + 1, count - 1)] - values[int(place)])
        for place in places
    ]
