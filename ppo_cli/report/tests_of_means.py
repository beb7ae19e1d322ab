"""Whether two groups differ in their mean: a permutation test whose statistic is Welch's t, and Welch's test beside it.

``docs/report.md`` has the definitions with their sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppo_cli.report.statistics import SEED, Array, Interval

MOST_SPLITS = 200_000
"""Ways to deal the seeds out to two groups that are all tried; of more, a sample is."""
DRAWN_SPLITS = 100_000
ENOUGH = 5
"""Seeds a group from which on lying apart counts: of two groups of one kind, 2 in 252 lie so."""
_ROUNDING = 1e-9
"""Share of a statistic by which two that are equal may differ."""


class Permuted(NamedTuple):
    """A permutation test.

    Attributes:
        p: The p-value.
        exact: Whether every split was tried.
        splits: How many splits there are, or were drawn.
        smallest: The least that ``p`` can be with so many seeds.
    """

    p: float
    exact: bool
    splits: int
    smallest: float


def permutation_tests(pairs: Sequence[tuple[Array, Array]], less: bool = False) -> list[Permuted | None]:
    """Test for each pair of groups, of at least two seeds each, whether they have the same mean.

    The p-value is the share of splits of all seeds into groups of these sizes whose statistic is at least as far out as
    the observed one: exact up to :data:`MOST_SPLITS`, else by drawn ones, of which the observed one is always one.

    Args:
        pairs: Scores of the first and the second group of each.
        less: Whether only a first group below the second counts as far out.

    Returns:
        The tests in the order of the pairs; ``None`` where a group has fewer than two seeds.
    """
    found: list[Permuted | None] = [None] * len(pairs)
    alike: dict[tuple[int, int], list[int]] = {}
    for index, (first, second) in enumerate(pairs):
        if min(len(first), len(second)) >= 2:
            alike.setdefault((len(first), len(second)), []).append(index)
    for (n, m), indices in alike.items():
        for some in range(0, len(indices), 64):
            batch = indices[some : some + 64]
            tests = _tests_of_one_size([pairs[index] for index in batch], n, m, less)
            for index, test in zip(batch, tests, strict=True):
                found[index] = test
    return found


def permutation_test(first: Array, second: Array, less: bool = False) -> Permuted | None:
    """:func:`permutation_tests` of one pair."""
    return permutation_tests([(first, second)], less)[0]


def _tests_of_one_size(pairs: Sequence[tuple[Array, Array]], n: int, m: int, less: bool) -> list[Permuted]:
    small, count = min(n, m), math.comb(n + m, n)
    pooled = np.stack([_standardised(np.concatenate(pair if n <= m else pair[::-1])) for pair in pairs], axis=1)
    exact, mirrored = count <= MOST_SPLITS, n == m and not less
    splits = _all_splits(n + m, small, mirrored) if exact else _drawn_splits(n + m, small)
    statistic = _sum if n == m else _t
    sign = -1.0 if n <= m else 1.0  # of a first group that is less
    observed = statistic(pooled, np.arange(small)[None, :])[0]
    far = sign * observed if less else np.abs(observed)
    at_least = far - np.where(np.isfinite(far), _ROUNDING * np.abs(far), 0.0) - 1e-12
    extreme = np.zeros(len(pairs), dtype=np.int64)
    step = max(1, 1_000_000 // max(n + m, 2 * len(pairs)))
    for start in range(0, len(splits), step):
        values = statistic(pooled, splits[start : start + step])
        values = sign * values if less else np.abs(values)
        extreme += np.count_nonzero(values >= at_least, axis=0)
    if exact:
        whole = 2 if mirrored else 1  # the other half of the splits is as far out
        return [Permuted(whole * int(k) / count, True, count, smallest_p(n, m, less)) for k in extreme]
    drawn = DRAWN_SPLITS + 1
    return [Permuted((int(k) + 1) / drawn, False, DRAWN_SPLITS, 1 / drawn) for k in extreme]


def _standardised(scores: Array) -> Array:
    """Scores around 0 and of size 1 at most, since squares of large numbers would be infinite."""
    scale = np.abs(scores).max()
    scores = scores / scale if scale > 0 else scores
    scores = scores - scores.mean()
    scale = np.abs(scores).max()
    return np.asarray(scores / scale if scale > 1e-12 else np.zeros_like(scores))


def smallest_p(n: int, m: int, less: bool = False) -> float:
    """The least p-value that groups of these sizes can have.

    In groups of one size, a split and its mirror image are equally far out, though on two sides.
    """
    count = math.comb(n + m, n)
    if count > MOST_SPLITS:
        return 1 / (DRAWN_SPLITS + 1)
    return (2 if n == m and not less else 1) / count


@lru_cache(maxsize=4)
def _all_splits(total: int, small: int, mirrored: bool) -> NDArray[np.intp]:
    """Every choice of the smaller group's members; of halves, those with the first one in them; (splits, small)."""
    if mirrored:
        rest = _all_splits(total - 1, small - 1, False) + 1
        return np.concatenate([np.zeros((len(rest), 1), np.intp), rest], axis=1)
    flat = chain.from_iterable(combinations(range(total), small))
    return np.fromiter(flat, np.intp).reshape(-1, small)


@lru_cache(maxsize=4)
def _drawn_splits(total: int, small: int) -> NDArray[np.intp]:
    """Random choices of the smaller group's members; (splits, small)."""
    rng = np.random.default_rng((SEED, total, small))
    rows = max(1, 2_000_000 // total)
    parts = [
        np.argpartition(rng.random((min(rows, DRAWN_SPLITS - done), total)), small - 1, axis=1)[:, :small]
        for done in range(0, DRAWN_SPLITS, rows)
    ]
    return np.concatenate(parts)


def _members(chosen: NDArray[np.intp], seeds: int) -> Array:
    """1 for each seed that a split puts into the first group, else 0; (splits, seeds)."""
    member = np.zeros((len(chosen), seeds))
    member[np.arange(len(chosen))[:, None], chosen] = 1.0
    return member


def _sum(pooled: Array, chosen: NDArray[np.intp]) -> Array:
    """The first group's sum; with halves of scores around 0, Welch's t is a rising function of it; (splits, pairs)."""
    return np.asarray(_members(chosen, len(pooled)) @ pooled)


def _t(pooled: Array, chosen: NDArray[np.intp]) -> Array:
    """Welch's t of the chosen ones against the rest; infinite where groups without spread differ, 0 where not.

    Args:
        pooled: Scores around 0, a column a pair; (seeds, pairs).
        chosen: The members of the first group; (splits, n).

    Returns:
        (splits, pairs).
    """
    pairs, n = pooled.shape[1], chosen.shape[1]
    m = len(pooled) - n
    squares = pooled * pooled
    all_squares = squares.sum(axis=0)
    sums = _members(chosen, len(pooled)) @ np.concatenate([pooled, squares], axis=1)
    part, part_squares = sums[:, :pairs], sums[:, pairs:]  # the rest's sum is minus the part's
    difference = part * (1 / n + 1 / m)
    own, other = 1 / (n * (n - 1)), 1 / (m * (m - 1))
    spread = (own - other) * part_squares + other * all_squares - (own / n + other / m) * part * part
    # What is left of equal numbers after rounding is no spread and no difference.
    spread[spread <= 1e-13 * all_squares] = 0.0
    difference[np.abs(difference) <= 1e-12] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0.0, 0.0, difference / np.sqrt(spread)))


def holm(ps: Sequence[float], total: int | None = None) -> list[float]:
    """p-values adjusted by Holm's step-down method, in the order given.

    Args:
        ps: The p-values.
        total: How many tests there are, if these are not all; the others count as the greatest.
    """
    total = len(ps) if total is None else total
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, (total - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted


class Welch(NamedTuple):
    """Welch's test of two means.

    Attributes:
        p: The two-sided p-value.
        p_less: The one-sided p-value against a first mean that is at least the second.
        interval: Of the first mean less the second.
    """

    p: float
    p_less: float
    interval: Interval


def welch_test(first: Array, second: Array, level: float = 0.95) -> Welch | None:
    """Welch's t-test; ``None`` for fewer than two seeds in a group."""
    n, m = len(first), len(second)
    if min(n, m) < 2:
        return None
    difference = float(first.mean() - second.mean())
    parts = float(first.var(ddof=1)) / n, float(second.var(ddof=1)) / m
    spread = sum(parts)
    if spread == 0:
        return Welch(float(difference == 0), float(difference >= 0), Interval(difference, difference))
    freedom = 1 / ((parts[0] / spread) ** 2 / (n - 1) + (parts[1] / spread) ** 2 / (m - 1))
    error = math.sqrt(spread)
    p = two_sided_t(difference / error, freedom)
    reach = t_quantile(1 - level, freedom) * error
    return Welch(p, p / 2 if difference < 0 else 1 - p / 2, Interval(difference - reach, difference + reach))


def deciding_p(first: Array, second: Array, test: Permuted, welch: Welch, less: bool = False) -> float:
    """The p-value that a verdict goes by: the larger of both tests', or the permutation test's where groups lie apart.

    Where all seeds of one group reach the highest return, Welch's test has the spread of the other alone to go by, and
    doubts a difference that every seed shows.

    Args:
        first: Scores of the first group.
        second: Scores of the second.
        test: The permutation test of both.
        welch: Welch's.
        less: Whether the one-sided tests are meant.
    """
    return test.p if lie_apart(first, second) else max(test.p, welch.p_less if less else welch.p)


def lie_apart(first: Array, second: Array) -> bool:
    """Whether each seed of one group beats each of the other, and there are enough for that to be no accident."""
    apart = bool(first.min() > second.max() or second.min() > first.max())
    return apart and min(len(first), len(second)) >= ENOUGH


def two_sided_t(t: float, freedom: float) -> float:
    """How likely Student's t is at least as far from 0 as this, on either side (DLMF 8.17.22, by its beta function)."""
    if math.isinf(t):
        return 0.0
    x = freedom / (freedom + t * t)
    if x < (freedom / 2 + 1) / (freedom / 2 + 2.5):  # where the fraction converges fast
        return _beta_tail(x, 1 - x, freedom / 2, 0.5)
    return 1.0 - _beta_tail(t * t / (freedom + t * t), x, 0.5, freedom / 2)


def _beta_tail(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function at x, by its continued fraction from the far end inwards.

    Args:
        x: Where.
        rest: 1 - x, which is more exact than what a subtraction would leave of it.
        a: The first parameter.
        b: The second.
    """
    if x <= 0:
        return 0.0
    value = 1.0
    for k in range(60, 0, -1):
        if k % 2:
            half = (k - 1) / 2
            factor = -(a + half) * (a + b + half) / ((a + k - 1) * (a + k))
        else:
            factor = k / 2 * (b - k / 2) / ((a + k - 1) * (a + k))
        value = 1 + factor * x / value
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    return math.exp(front) / (a * value)


def t_quantile(p: float, freedom: float) -> float:
    """The distance from 0 that Student's t exceeds, on either side, with probability ``p``; by Newton's method."""
    log_height = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    t = 0.0
    for _ in range(100):  # from the left of a convex curve, so that no step goes too far
        slope = 2 * math.exp(log_height - (freedom + 1) / 2 * math.log1p(t * t / freedom))
        step = (two_sided_t(t, freedom) - p) / slope
        t += step
        if abs(step) <= 1e-12 * t:
            break
    return t
