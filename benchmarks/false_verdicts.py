"""How often the report's test finds groups different that are not, and how often its intervals hold what they should.

``python -m benchmarks.false_verdicts`` draws pairs of groups whose means are equal, and prints the tables of
``docs/report.md``; ``--trials 400`` is quick and coarse.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np

from ppo_cli.report import statistics
from ppo_cli.report.seeds_needed import seeds_needed
from ppo_cli.report.statistics import Array
from ppo_cli.report.tests_of_means import deciding_p, permutation_tests, t_quantile, welch_test

LEVEL, ALPHA = 0.95, 0.05
SEED = 7
SIZES = ((3, 3), (5, 5), (10, 10), (3, 5), (3, 10), (5, 10))
SPREADS = (1.0, 2.0, 4.0, 0.5, 0.25)
"""Standard deviation of the second group over that of the first."""
KINDS = ("normal", "bimodal", "skewed")
COVERAGE_SIZES = (3, 5, 10, 20)


def draws(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Scores of mean 0 and deviation 1.

    ``bimodal`` are seeds of which three in ten fail; ``skewed`` ones are log-normal (σ = 1).
    """
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "bimodal":
        fails = rng.random(shape) < 0.3
        found = np.where(fails, -1.0, 1.0) + 0.1 * rng.standard_normal(shape)
        return (found - 0.4) / np.sqrt(0.84 + 0.01)
    found = np.exp(rng.standard_normal(shape))
    return np.asarray((found - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e))


def false_verdicts(kind: str, n: int, m: int, spread: float, trials: int) -> tuple[float, float, float]:
    """Share of pairs of equal means that are found different: by the verdict, and by each of its two tests alone."""
    rng = np.random.default_rng((SEED, KINDS.index(kind), n, m, int(100 * spread)))
    pairs = list(zip(draws(kind, rng, (trials, n)), spread * draws(kind, rng, (trials, m)), strict=True))
    tests = permutation_tests(pairs)
    welch = [welch_test(*pair) for pair in pairs]
    found = np.array(
        [
            (deciding_p(*pair, test, other), test.p, other.p)
            for pair, test, other in zip(pairs, tests, welch, strict=True)
            if test is not None and other is not None
        ]
    )
    verdict, permuted, alone = (found <= ALPHA).mean(axis=0).tolist()
    return verdict, permuted, alone


def coverage(kind: str, count: int, trials: int) -> dict[str, float]:
    """Share of intervals that hold what they are of: a group's mean and IQM, and the difference of two means (0)."""
    rng = np.random.default_rng((SEED, KINDS.index(kind), count))
    scores, others = draws(kind, rng, (trials, count)), draws(kind, rng, (trials, count))
    middle = np.sort(draws(kind, rng, (4_000_000,)))[1_000_000:3_000_000].mean()
    return {
        "mean": np.mean([_holds(statistics.interval(one, statistics.mean, LEVEL, 2_000), 0.0) for one in scores]),
        "IQM": np.mean([_holds(statistics.interval(one, statistics.iqm, LEVEL, 2_000), middle) for one in scores]),
        "difference": np.mean(
            [_holds(test.interval, 0.0) for pair in zip(scores, others, strict=True) if (test := welch_test(*pair))]
        ),
    }


def _holds(interval: statistics.Interval | None, value: float) -> bool:
    return interval is not None and interval.low <= value <= interval.high


def forecasts(trials: int) -> Iterator[tuple[float, int, float, float]]:
    """For a known effect: its size, the seeds it takes by theory, the median forecast from 5 seeds, share in range."""
    for effect in (1.0, 1.5, 2.0):
        rng = np.random.default_rng((SEED, int(10 * effect)))
        needed = theory(effect)
        found = [
            forecast
            for _ in range(trials)
            if (forecast := seeds_needed(rng.standard_normal(5) + effect, rng.standard_normal(5), ALPHA)) is not None
        ]
        likely = np.median([np.inf if one.likely is None else one.likely for one in found])
        held = np.mean([(one.low or np.inf) <= needed <= (one.high or np.inf) for one in found])
        yield effect, needed, float(likely), float(held)


def theory(effect: float) -> int:
    """Seeds a group with which a t-test finds normal groups apart by so many deviations, eight times out of ten."""
    rng = np.random.default_rng(SEED)
    count = 2
    while True:
        first, second = rng.standard_normal((20_000, count)) + effect, rng.standard_normal((20_000, count))
        error = np.sqrt((first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)) / count)
        t = np.abs(first.mean(axis=1) - second.mean(axis=1)) / error
        if np.mean(t > t_quantile(ALPHA, 2 * count - 2)) >= 0.8:
            return count
        count += 1


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4_000, help="pairs for each number")
    trials = parser.parse_args().trials
    bound = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / trials)
    print(f"False 'different' of {trials:,} pairs, in %; more than {100 * bound:.1f} is too many, and bold.")
    print("In brackets: by the permutation test alone, and by Welch's alone.\n")
    _print_table(("seeds", "spread", *KINDS), _false_rows(trials, bound))
    print("\nCoverage of 95 % intervals, in %.\n")
    _print_table(("seeds", "interval of", *KINDS), _coverage_rows(trials))
    print("\nForecasts from 5 seeds.\n")
    rows = ((f"{a:g}", str(b), f"{c:g}", f"{100 * d:.0f} %") for a, b, c, d in forecasts(min(trials, 400)))
    _print_table(("effect", "seeds it takes", "median forecast", "range holds it"), rows)


def _false_rows(trials: int, bound: float) -> Iterator[tuple[str, ...]]:
    for n, m in SIZES:
        for spread in SPREADS if n != m else SPREADS[:3]:
            rates = [false_verdicts(kind, n, m, spread, trials) for kind in KINDS]
            cells = []
            for own, permuted, welch in rates:
                mark = "**" if own > bound else ""
                cells.append(f"{mark}{100 * own:.1f}{mark} ({100 * permuted:.1f}, {100 * welch:.1f})")
            yield f"{n}, {m}", f"1 : {spread:g}", *cells


def _coverage_rows(trials: int) -> Iterator[tuple[str, ...]]:
    for count in COVERAGE_SIZES:
        found = [coverage(kind, count, trials) for kind in KINDS]
        for name in found[0]:
            yield str(count), name, *(f"{100 * one[name]:.1f}" for one in found)


def _print_table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    make: Callable[[tuple[str, ...]], str] = " | ".join
    for row in rows:
        print(f"| {make(row)} |", flush=True)


if __name__ == "__main__":
    main()
