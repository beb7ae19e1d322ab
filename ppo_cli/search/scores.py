"""What a run of a trial is worth, and how its curve stands while it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from ppo_cli.config import TrainConfig
from ppo_cli.report import scores, statistics
from ppo_cli.report.options import EVAL_METRIC, TRAINING_METRIC
from ppo_cli.report.reading import with_curves
from ppo_cli.report.records import read_record
from ppo_cli.search_config import SearchConfig

LAST = 0.1
"""The share of a run whose values are averaged for ``metric=final``, as ppo-report has it."""
POINTS = 20
"""Of a run without evaluations, at which trials are compared."""


def column(config: TrainConfig) -> str:
    """The column of ``metrics.csv`` that a search goes by."""
    return TRAINING_METRIC if config.eval_every is None else EVAL_METRIC


def score(folder: Path, metric: str, search: SearchConfig) -> float:
    """What a finished run is worth; infinite if it is to reach a threshold and never does.

    Args:
        folder: The run's folder.
        metric: The column to look at.
        search: Says what counts.

    Raises:
        UnusableError: says why it is worth nothing.
    """
    run = with_curves(read_record(folder), [metric])
    final = scores.final_score(run, metric, LAST)
    steps, values, seconds = scores.finite_points(run, metric)
    if search.metric == "best":
        return float(values.max())
    if search.metric == "area":
        return statistics.mean_height(steps, values, float(steps[0]), float(steps[-1]))
    if search.metric in ("steps", "time"):
        assert search.threshold is not None
        reached = statistics.first_at_least(values, search.threshold)
        return math.inf if reached is None else float((steps if search.metric == "steps" else seconds)[reached])
    return final


def places(config: TrainConfig) -> int:
    """How many points of a run's curve are compared with those of others."""
    every = config.eval_every
    return POINTS if every is None else max(1, config.total_timesteps // every)


def by_place(points: Iterable[tuple[float, float]], config: TrainConfig) -> dict[int, float]:
    """A curve at the places at which trials are compared, whatever the length of their iterations.

    Args:
        points: Steps and values, in order.
        config: The run's settings.
    """
    every = config.eval_every or config.total_timesteps / POINTS
    last = places(config)
    found: dict[int, float] = {}
    for step, value in points:
        place = min(int(step // every), last)
        if place > 0 and math.isfinite(value):
            found[place] = value
    return found


class Medians:
    """The median rule: a trial is given up whose best so far lies below the median of what others had at that place.

    The rule is that of Optuna's ``MedianPruner`` (Golovin et al. 2017, section 3.2), on the curve of the first seed;
    after each further seed, the mean so far is compared with that of others after as many.

    Args:
        search: Says from when on.
        last: The last place of a curve.
    """

    def __init__(self, search: SearchConfig, last: int) -> None:
        self._search, self._last = search, last

    def below(self, curve: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> tuple[int, float] | None:
        """The first place at which a curve lies below the median of others, and that median; ``None`` for none."""
        best = -math.inf
        for place, value in sorted(curve.items()):
            best = max(best, value)
            if place >= self._last or place < self._search.warmup * self._last:  # at its end there is nothing to save
                continue
            middle = self._median([other[place] for other in others if place in other])
            if middle is not None and best < middle:
                return place, middle
        return None

    def worse(self, mean: float, others: Sequence[float]) -> float | None:
        """The median of the means of others, if a mean is worse; else ``None``."""
        middle = self._median(others)
        if middle is None:
            return None
        worse = mean > middle if self._search.direction == "minimize" else mean < middle
        return middle if worse else None

    def _median(self, values: Sequence[float]) -> float | None:
        if self._search.pruner == "none" or len(values) < self._search.startup:
            return None
        return float(median(values))
