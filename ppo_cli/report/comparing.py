"""From the runs of one environment to its section of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ppo_cli.report import scores, statistics
from ppo_cli.report.model import BETTER, OPEN, TOO_FEW, WORSE, Curve, Group, Pair, Seed
from ppo_cli.report.options import ReportConfig
from ppo_cli.report.reading import LeftOut, Run
from ppo_cli.report.seeds_needed import SeedsNeeded, seeds_needed
from ppo_cli.report.settings import name_of, name_of_trial, values
from ppo_cli.report.statistics import Array
from ppo_cli.report.tests_of_means import deciding_p, holm, lie_apart, permutation_tests, smallest_p, welch_test

MOST_FORECASTS = 3
"""Pairs of a section for which seeds that would decide are worked out, which takes a while."""
MOST_GROUPS = 40
"""Groups up to which each is compared with each; of more, all are compared with the best."""
PROFILE_POINTS = 50

NEW, OLD = "new", "old"


@dataclass(frozen=True)
class Runs:
    """Runs of one group before anything is reckoned.

    Attributes:
        side: ``new`` or ``old`` where two sides are compared, else empty.
        key: Its values of the settings that make groups.
        runs: The runs.
    """

    side: str
    key: tuple[str, ...]
    runs: tuple[Run, ...]


def grouped(sides: Mapping[str, Sequence[Run]], keys: Sequence[str]) -> list[Runs]:
    """The runs of each side by their settings."""
    found: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    for side, runs in sides.items():
        for run in runs:
            found.setdefault((side, values(run, keys)), []).append(run)
    return [Runs(side, key, tuple(runs)) for (side, key), runs in found.items()]


def compare(
    found: Sequence[Runs],
    keys: Sequence[str],
    metric: str,
    span: scores.Span | None,
    told: ReportConfig,
    left: Sequence[LeftOut],
) -> tuple[tuple[Group, ...], tuple[Pair, ...], Array]:
    """The groups, the best first, their comparisons, and the scores at which profiles are taken.

    Args:
        found: The groups' runs.
        keys: The settings that make groups.
        metric: What scores come from.
        span: As from :func:`scores.area_span`.
        told: The options.
        left: What is left out of the same environment.
    """
    points = scores.points_kept(sum(len(one.runs) for one in found))
    seeds = {
        id(one): tuple(
            scores.score(run, metric, told.score, told.last, span, told.threshold, points)
            for run in sorted(one.runs, key=lambda run: run.seed)
        )
        for one in found
    }
    every = np.array([seed.score for own in seeds.values() for seed in own])
    profile_at = np.linspace(every.min(), every.max(), PROFILE_POINTS)
    made = [(_group(one, keys, seeds[id(one)], metric, told, left, profile_at), one) for one in found]
    made.sort(key=lambda pair: -pair[0].mean)
    groups = tuple(_unambiguous([group for group, _ in made]))
    return groups, _pairs(groups, [one for _, one in made], told.alpha), profile_at


def _group(
    one: Runs,
    keys: Sequence[str],
    seeds: tuple[Seed, ...],
    metric: str,
    told: ReportConfig,
    left: Sequence[LeftOut],
    profile_at: Array,
) -> Group:
    settings = dict(zip(keys, one.key, strict=True))
    own, areas = scores_of(seeds), np.array([seed.area for seed in seeds if seed.area is not None])
    timed = scores.over_seconds(one.runs, metric)
    with_threshold = told.threshold is not None
    return Group(
        name=" ".join(filter(None, [one.side, _name(one, settings)])) or "all runs",
        side=one.side,
        settings=settings,
        seeds=seeds,
        mean=float(own.mean()),
        mean_interval=statistics.interval(own, statistics.mean, told.level),
        iqm=float(statistics.iqm(own)),
        iqm_interval=statistics.interval(own, statistics.iqm, told.level),
        std=float(own.std(ddof=1)) if len(own) > 1 else None,
        worst=min(seeds, key=lambda seed: seed.score),
        area=float(areas.mean()) if len(areas) else None,
        area_interval=statistics.interval(areas, statistics.mean, told.level) if len(areas) else None,
        reached=sum(seed.steps_to_threshold is not None for seed in seeds) if with_threshold else None,
        steps_to_threshold=statistics.median_of_censored([seed.steps_to_threshold for seed in seeds]),
        seconds_to_threshold=statistics.median_of_censored([seed.seconds_to_threshold for seed in seeds]),
        lost=_lost(one, keys, left),
        curve=scores.group_curve(scores.over_steps(one.runs, metric), told.level),
        time_curve=None if timed is None else scores.group_curve(timed, told.level),
        diagnostics=scores.diagnostics(one.runs),
        profile=_profile(own, profile_at, told.level),
    )


def _name(one: Runs, settings: dict[str, str]) -> str:
    trials = {run.trial for run in one.runs}
    trial = trials.pop() if len(trials) == 1 else None
    return name_of(settings) if trial is None else name_of_trial(trial, settings)


def _profile(own: Array, at: Array, level: float) -> Curve:
    middle = statistics.performance_profile(own, at)
    low, high = statistics.profile_band(own, at, level) if len(own) > 1 else (middle, middle)
    return Curve(*(tuple(one.tolist()) for one in (at, middle, low, high)))


def _lost(one: Runs, keys: Sequence[str], left: Sequence[LeftOut]) -> dict[str, int]:
    """How many runs of a group's settings were left out, by state."""
    found: dict[str, int] = {}
    for other in left:
        if other.run is not None and other.side == one.side and values(other.run, keys) == one.key:
            found[other.state] = found.get(other.state, 0) + 1
    return found


def _unambiguous(groups: Sequence[Group]) -> list[Group]:
    """The groups, with a number behind names that others have too, which happens where long values are cut."""
    names = [group.name for group in groups]
    found = []
    for number, group in enumerate(groups):
        if names.count(group.name) > 1:
            group = dataclasses.replace(group, name=f"{group.name} ({number + 1})")
        found.append(group)
    return found


def scores_of(seeds: Sequence[Seed]) -> Array:
    """Each seed's score, (seeds,)."""
    return np.array([seed.score for seed in seeds])


def compared(groups: Sequence[Group], keys: Sequence[tuple[str, ...]]) -> list[tuple[int, int]]:
    """The pairs that are compared: all, the better group first; of two sides, each new group with its old one.

    Args:
        groups: The groups, the best first.
        keys: Their values of the settings that make groups.
    """
    if not any(group.side for group in groups):
        if len(groups) > MOST_GROUPS:
            return [(0, place) for place in range(1, len(groups))]
        return list(combinations(range(len(groups)), 2))
    sides = {side: [place for place, group in enumerate(groups) if group.side == side] for side in (NEW, OLD)}
    if all(len(places) == 1 for places in sides.values()):
        return [(sides[NEW][0], sides[OLD][0])]
    return [(new, old) for new in sides[NEW] for old in sides[OLD] if keys[new] == keys[old]]


def tests_in_all(groups: Sequence[Group], pairs: Sequence[object]) -> int:
    """How many comparisons p-values are corrected for: whoever looks at the best has looked at all."""
    return len(pairs) if any(group.side for group in groups) else len(groups) * (len(groups) - 1) // 2


def _pairs(groups: Sequence[Group], found: Sequence[Runs], alpha: float) -> tuple[Pair, ...]:
    places = compared(groups, [one.key for one in found])
    own = [scores_of(group.seeds) for group in groups]
    tests = permutation_tests([(own[first], own[second]) for first, second in places])
    others = [welch_test(own[first], own[second], 1 - alpha) for first, second in places]
    decide = [
        deciding_p(own[first], own[second], test, welch)
        for (first, second), test, welch in zip(places, tests, others, strict=True)
        if test is not None and welch is not None
    ]
    total = tests_in_all(groups, places)
    adjusted = iter(holm(decide, total))
    least = iter(holm([test.smallest for test in tests if test is not None], total))
    pairs: list[Pair] = []
    forecasts = 0
    for (first, second), test, welch in zip(places, tests, others, strict=True):
        left, right = own[first], own[second]
        difference = float(left.mean() - right.mean())
        p = next(adjusted) if test is not None else None
        verdict = _verdict(p, next(least) if test is not None else None, difference, alpha)
        needed: SeedsNeeded | None = None
        if (
            verdict in (OPEN, TOO_FEW)
            and forecasts < MOST_FORECASTS
            and difference
            and (not first or groups[first].side)
        ):
            needed = seeds_needed(left, right, alpha / total)
            forecasts += needed is not None
        pairs.append(
            Pair(
                first=first,
                second=second,
                verdict=verdict,
                difference=difference,
                interval=None if welch is None else welch.interval,
                p=None if test is None else test.p,
                p_adjusted=p,
                p_welch=None if welch is None else welch.p,
                apart=lie_apart(left, right),
                exact=None if test is None else test.exact,
                splits=None if test is None else test.splits,
                smallest_p=None if test is None else test.smallest,
                improvement=float(statistics.probability_of_improvement(left, right)),
                improvement_interval=statistics.improvement_interval(left, right, 1 - alpha, 1_000),
                needed=needed,
            )
        )
    return tuple(pairs)


def _verdict(p: float | None, least: float | None, difference: float, alpha: float) -> str:
    """What a test has decided; ``least`` is the adjusted p-value that would have been the smallest."""
    if p is None or least is None or least > alpha:
        return TOO_FEW
    if p > alpha:
        return OPEN
    return BETTER if difference > 0 else WORSE


def seeds_to_decide(pairs: int, alpha: float, less: bool = False) -> int:
    """The least number of seeds a group with which the test can decide at all, with so many pairs."""
    count = 2
    while smallest_p(count, count, less) * pairs > alpha and count < 100:
        count += 1
    return count
