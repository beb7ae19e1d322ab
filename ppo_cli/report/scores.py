"""From a run's curve to its scores, and from the curves of a group to the group's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ppo_cli.report import statistics
from ppo_cli.report.model import Curve, Numbers, Seed
from ppo_cli.report.reading import Run
from ppo_cli.report.records import MOST_STEPS, UnusableError
from ppo_cli.report.statistics import Array

CURVE_POINTS, DIAGNOSTIC_POINTS = 100, 60
MOST_POINTS, LEAST_POINTS, ALL_POINTS = 300, 40, 24_000
"""Points of a seed's curve that are kept: at most and at least, and of all seeds together."""
DIAGNOSTICS = {
    "train/approx_kl": ("approximate KL", "how far an update moves the policy; healthy from 0.003 to 0.03"),
    "train/clip_fraction": ("clip fraction", "share of transitions out of the clip range; healthy from 0.05 to 0.3"),
    "train/explained_variance": ("explained variance", "how well the value predicts returns; rises towards 1"),
    "train/entropy": ("entropy (nats)", "how much the policy still explores; falls slowly"),
    "train/value_loss": ("value loss", "error of the value; falls early, then follows the returns"),
}
"""Metrics that tell how learning went, not how well: their names, and what is healthy, as in ``docs/metrics.md``."""

Points = tuple[Array, Array]
Span = tuple[float, float]


def final_score(run: Run, metric: str, last: float) -> float:
    """The mean of the values over the last share of a run's steps, at least of the last one.

    Raises:
        UnusableError: if the run has no value, or one there is NaN or infinite.
    """
    steps, values, _ = run.points(metric)
    if not len(steps):
        raise UnusableError("broken", f"has no value of {metric}")
    end = steps[-1]
    window = (steps > end - last * end) | (steps == end)
    if not np.isfinite(values[window]).all():
        where = int(steps[window][~np.isfinite(values[window])][0])
        raise UnusableError("broken", f"its {metric} is NaN or infinite at step {where:,}")
    return float(values[window].mean())


def finite_points(run: Run, metric: str) -> tuple[Array, Array, Array]:
    """Steps, values and seconds of a metric's finite values; one that stopped at its target keeps what it reached."""
    steps, values, seconds = run.points(metric)
    known = np.isfinite(values)
    steps, values, seconds = steps[known], values[known], seconds[known]
    if run.stopped_at_target and len(steps) and steps[-1] < run.budget:
        steps, values = np.append(steps, run.budget), np.append(values, values[-1])
        seconds = np.append(seconds, seconds[-1])
    return steps, values, seconds


def area_span(runs: Sequence[Run], metric: str) -> Span | None:
    """The steps between which all runs have a curve; ``None`` where there are none, as with one evaluation a run."""
    spans = [finite_points(run, metric)[0][[0, -1]] for run in runs]
    start, end = float(max(start for start, _ in spans)), float(min(end for _, end in spans))
    return (start, end) if start < end else None


def score(
    run: Run, metric: str, kind: str, last: float, span: Span | None, threshold: float | None, points: int
) -> Seed:
    """One run's scores.

    Args:
        run: The run, of which :func:`final_score` is known to exist.
        metric: What is looked at.
        kind: ``final`` or ``area``, for which there is a span: what is compared.
        last: As for :func:`final_score`.
        span: As from :func:`area_span`.
        threshold: A value of the metric; ``None`` for none.
        points: Points of its curve to keep.
    """
    steps, values, seconds = finite_points(run, metric)
    final = final_score(run, metric, last)
    area = None if span is None else statistics.mean_height(steps, values, *span)
    compared = final if kind == "final" else area
    assert compared is not None
    reached = None if threshold is None else statistics.first_at_least(values, threshold)
    kept = _thinned(len(steps), points)
    timed = bool(np.isfinite(seconds).all())
    wall_time = run.facts.get("wall_time")
    known = isinstance(wall_time, int | float) and abs(wall_time) < MOST_STEPS
    return Seed(
        folder=run.folder,
        seed=run.seed,
        score=compared,
        final=final,
        area=area,
        last=float(values[-1]),
        step=run.step,
        wall_time=float(wall_time) if known and wall_time is not None else None,
        steps_to_threshold=None if reached is None else float(steps[reached]),
        seconds_to_threshold=float(seconds[reached]) if reached is not None and timed else None,
        steps=_numbers(steps[kept]),
        values=_numbers(values[kept]),
        seconds=_numbers(seconds[kept]) if timed else (),
    )


def points_kept(runs: int) -> int:
    """Points of a seed's curve to keep, so that a page of many runs stays small."""
    return max(LEAST_POINTS, min(MOST_POINTS, ALL_POINTS // max(1, runs)))


def _thinned(count: int, most: int) -> NDArray[np.intp]:
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))


def _numbers(values: Array) -> Numbers:
    return tuple(values.tolist())


def group_curve(points: Sequence[Points], level: float) -> Curve:
    """The interquartile mean of curves with its interval, as far as all of them go."""
    at, values = _together(points, CURVE_POINTS)
    low, high = statistics.curve_band(values, level)
    return Curve(_numbers(at), _numbers(statistics.iqm(values.T)), _numbers(low), _numbers(high))


def over_steps(runs: Sequence[Run], metric: str) -> list[Points]:
    """Curves over steps."""
    return [finite_points(run, metric)[:2] for run in runs]


def over_seconds(runs: Sequence[Run], metric: str) -> list[Points] | None:
    """Curves over seconds; ``None`` where a run does not tell them."""
    found = []
    for run in runs:
        _, values, seconds = run.points(metric)
        known = np.isfinite(values)
        if not np.isfinite(seconds[known]).all():
            return None
        found.append((np.maximum.accumulate(seconds[known]), values[known]))
    return found


def diagnostics(runs: Sequence[Run]) -> dict[str, Curve]:
    """Mean, least and greatest of each metric that all runs have."""
    found = {}
    for metric in DIAGNOSTICS:
        points = []
        for run in runs:
            steps, values, _ = run.points(metric)
            known = np.isfinite(values)
            points.append((steps[known], values[known]))
        if all(len(steps) for steps, _ in points):
            at, values = _together(points, DIAGNOSTIC_POINTS)
            middle, low, high = values.mean(axis=0), values.min(axis=0), values.max(axis=0)
            found[metric] = Curve(_numbers(at), _numbers(middle), _numbers(low), _numbers(high))
    return found


def _together(points: Sequence[Points], most: int) -> tuple[Array, Array]:
    """All curves at the same places, those of all points where they are few; (places,) and (curves, places)."""
    start = max(at[0] for at, _ in points)
    end = min(at[-1] for at, _ in points)
    every = np.unique(np.concatenate([at for at, _ in points]))
    every = every[(every >= start) & (every <= end)]
    if not len(every):
        every = np.array([end])
    grid = every if len(every) <= most else np.linspace(start, end, most)
    return grid, np.stack([np.interp(grid, at, values) for at, values in points])
