"""What is computed of scores, one a seed: averages, intervals, and how often one group's beat another's.

``docs/report.md`` has each definition with its source. Nothing here knows of runs; every draw is seeded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 10_000
"""Resamples of a bootstrap interval."""
SEED = 20_211_206


class Interval(NamedTuple):
    """From where to where."""

    low: float
    high: float


def mean(scores: Array) -> Array:
    """The mean over the last axis."""
    return np.asarray(scores.mean(axis=-1))


def iqm(scores: Array) -> Array:
    """The interquartile mean over the last axis: a quarter of the scores, rounded down, is cut off at either end."""
    count = scores.shape[-1]
    cut = count // 4
    if not cut:  # which spares a sort
        return mean(scores)
    return mean(np.sort(scores, axis=-1)[..., cut : count - cut])


def resampled(count: int, draws: int, stream: int = 0) -> NDArray[np.intp]:
    """Which seeds each resample of a group holds, drawn with replacement; (draws, count).

    Each group is resampled by itself, which is what makes the bootstrap a stratified one.

    Args:
        count: Seeds of the group.
        draws: How many resamples.
        stream: The number of the group among those that are drawn for one figure, so that no two share draws.
    """
    return np.random.default_rng((SEED, stream)).integers(0, count, (draws, count))


def percentiles(values: Array, level: float) -> tuple[Array, Array]:
    """The ends between which the middle share ``level`` of the first axis lies."""
    low, high = np.quantile(values, (0.5 - level / 2, 0.5 + level / 2), axis=0)
    return low, high


def interval(
    scores: Array, statistic: Callable[[Array], Array], level: float = 0.95, draws: int = DRAWS
) -> Interval | None:
    """The percentile bootstrap interval of a statistic of one group; ``None`` for fewer than two seeds."""
    if len(scores) < 2:
        return None
    low, high = percentiles(statistic(scores[resampled(len(scores), draws)]), level)
    return Interval(float(low), float(high))


def curve_band(values: Array, level: float = 0.95, draws: int = 1_000) -> tuple[Array, Array]:
    """The pointwise bootstrap interval of the interquartile mean of curves.

    Args:
        values: A curve a seed; (seeds, points).
        level: The share of resamples between the ends.
        draws: How many resamples.

    Returns:
        Lower and upper ends; (points,) each. Of one seed, both are its curve.
    """
    seeds = len(values)
    if seeds < 2:
        return values[0], values[0]
    # Which seed is drawn does not matter at a single point, only its rank there: so ranks are drawn, once for all
    # points, and what a resample's mean takes of each rank is one matrix.
    ranks = np.sort(resampled(seeds, draws), axis=-1)
    cut = seeds // 4
    weights = np.zeros((draws, seeds))
    np.add.at(weights, (np.arange(draws)[:, None], ranks[:, cut : seeds - cut]), 1 / (seeds - 2 * cut))
    return percentiles(weights @ np.sort(values, axis=0), level)


def probability_of_improvement(first: Array, second: Array) -> Array:
    """How often a seed of the first group beats one of the second, ties counted half; over the last axes.

    Args:
        first: (…, n).
        second: (…, m).
    """
    beats = first[..., :, None] - second[..., None, :]
    return np.asarray(0.5 * (1 + np.sign(beats)).mean(axis=(-2, -1)))


def improvement_interval(first: Array, second: Array, level: float = 0.95, draws: int = 2_000) -> Interval | None:
    """The bootstrap interval of :func:`probability_of_improvement`, each group resampled by itself."""
    if min(len(first), len(second)) < 2:
        return None
    left = first[resampled(len(first), draws)]
    right = second[resampled(len(second), draws, 1)]
    low, high = percentiles(probability_of_improvement(left, right), level)
    return Interval(float(low), float(high))


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """The share of seeds whose score is above each threshold; (…, thresholds)."""
    return np.asarray((scores[..., None] > thresholds).mean(axis=-2))


def profile_band(scores: Array, thresholds: Array, level: float = 0.95, draws: int = 1_000) -> tuple[Array, Array]:
    """The pointwise bootstrap interval of :func:`performance_profile`."""
    chosen = scores[resampled(len(scores), draws)]
    return percentiles(performance_profile(chosen, thresholds), level)


def mean_height(steps: Array, values: Array, start: float, end: float) -> float:
    """The area under a curve between two steps over their distance: straight between points, flat beyond the ends."""
    if end <= start:
        return float(np.interp(end, steps, values))
    inside = steps[(steps > start) & (steps < end)]
    at = np.concatenate([[start], inside, [end]])
    heights = np.interp(at, steps, values)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(at)).sum() / (end - start))


def first_at_least(values: Array, threshold: float) -> int | None:
    """The index of the first value that reaches a threshold."""
    reached = np.flatnonzero(values >= threshold)
    return int(reached[0]) if len(reached) else None


def median_of_censored(values: list[float | None]) -> float | None:
    """The median where ``None`` is more than any number; ``None`` where it is not among the numbers."""
    ordered = sorted(float("inf") if value is None else value for value in values)
    if not ordered:
        return None
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return None if np.isinf(high) else (low + high) / 2
