"""How many seeds would show a difference, by simulation from the runs that there are."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppo_cli.report.statistics import SEED, Array
from ppo_cli.report.tests_of_means import smallest_p, t_quantile

CANDIDATES = (*range(2, 13), 14, 16, 18, 20, 23, 26, 30, 35, 40, 50, 60, 80, 100)
"""Seeds a group that are tried."""
POWER = 0.8
"""How often the difference is to be shown."""
WORLDS, DRAWS, WORLD_DRAWS = 40, 1_000, 80


class SeedsNeeded(NamedTuple):
    """Seeds in each group, all in all; ``None`` is more than the most that was tried.

    Attributes:
        likely: If the groups are as they look.
        low: If they are as different as the observed seeds leave plausible (the lower end of 80 %).
        high: If they are as alike as the observed seeds leave plausible (the upper end).
        most: The most that was tried.
    """

    likely: int | None
    low: int | None
    high: int | None
    most: int


def seeds_needed(first: Array, second: Array, alpha: float) -> SeedsNeeded | None:
    """How many seeds each of two groups needs so that the test finds them different, eight times out of ten.

    Groups are made up by drawing from the observed seeds, whose distances from their mean are widened, since so few of
    them understate the spread. How sure one can be of that comes from doing the same with resampled seeds.

    Args:
        first: Scores of one group, at least two.
        second: Scores of the other, at least two.
        alpha: What the p-value must not exceed.
    """
    if min(len(first), len(second)) < 2:
        return None
    rng = np.random.default_rng((SEED, len(first), len(second)))
    pools = _widened(first[None, :]), _widened(second[None, :])  # (1, seeds)
    likely = _first_enough(rng, *pools, DRAWS, alpha)[0]
    worlds = [_widened(pool[0][rng.integers(0, pool.shape[1], (WORLDS, pool.shape[1]))]) for pool in pools]
    needed = np.sort(_first_enough(rng, worlds[0], worlds[1], WORLD_DRAWS, alpha))
    low, high = needed[round(0.1 * (WORLDS - 1))], needed[round(0.9 * (WORLDS - 1))]
    return SeedsNeeded(_count(likely), _count(low), _count(high), CANDIDATES[-1])


def _count(seeds: float) -> int | None:
    return None if np.isinf(seeds) else int(seeds)


def _widened(scores: Array) -> Array:
    """Scores as far from their mean as their unbiased variance has them; (…, seeds)."""
    count = scores.shape[-1]
    middle = scores.mean(axis=-1, keepdims=True)
    return np.asarray(middle + (scores - middle) * np.sqrt(count / (count - 1)))


def _first_enough(rng: np.random.Generator, first: Array, second: Array, draws: int, alpha: float) -> Array:
    """The least number of seeds at which the difference is shown often enough, for each world; infinite for none.

    Args:
        rng: Where draws come from.
        first: What one group's seeds are drawn from; (worlds, seeds).
        second: The same of the other; (worlds, seeds).
        draws: Made-up comparisons for each number of seeds.
        alpha: What the p-value must not exceed.
    """
    found = np.full(len(first), np.inf)
    open_worlds = np.arange(len(first))
    for count in CANDIDATES:
        if smallest_p(count, count) > alpha:  # which no difference could pass
            continue
        left, right = (_moments(rng, pool[open_worlds], count, draws) for pool in (first, second))
        power = _found(left, right, count, alpha).mean(axis=-1)
        enough = power >= POWER
        found[open_worlds[enough]] = count
        open_worlds = open_worlds[~enough]
        if not len(open_worlds):
            break
    return found


def _moments(rng: np.random.Generator, pools: Array, count: int, draws: int) -> tuple[Array, Array]:
    """Mean and squared standard error of groups drawn from each pool; (worlds, draws) each."""
    worlds, seeds = pools.shape
    chosen = rng.integers(0, seeds, (worlds, draws, count))
    drawn = np.take_along_axis(pools[:, None, :], chosen, axis=-1)
    return drawn.mean(axis=-1), drawn.var(axis=-1, ddof=1) / count


def _found(left: tuple[Array, Array], right: tuple[Array, Array], count: int, alpha: float) -> NDArray[np.bool_]:
    """Whether Welch's test, which the permutation test comes close to, finds drawn groups different."""
    difference, spread = np.abs(left[0] - right[0]), left[1] + right[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (count - 1) * spread**2 / (left[1] ** 2 + right[1] ** 2)
    at, critical = _critical(count, alpha)
    return np.asarray(difference > np.interp(np.nan_to_num(freedom, nan=count - 1.0), at, critical) * np.sqrt(spread))


@lru_cache(maxsize=256)
def _critical(count: int, alpha: float) -> tuple[Array, Array]:
    """What t has to exceed, at some of the degrees of freedom that two groups of a size can have."""
    at = np.linspace(count - 1, 2 * (count - 1), 9)
    return at, np.array([t_quantile(alpha, freedom) for freedom in at])
