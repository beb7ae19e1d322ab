"""The report's statistics: against numbers worked out by hand, against SciPy, and against what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_cli.report import statistics, tests_of_means
from ppo_cli.report.seeds_needed import seeds_needed
from ppo_cli.report.tests_of_means import deciding_p, holm, permutation_test, permutation_tests, smallest_p, welch_test

SCORES = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), min_size=2, max_size=6).map(np.array)


def draw(seed: int, *sizes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(place, 1 + place, size) for place, size in enumerate(sizes)]


class TestByHand:
    """Numbers that can be checked on paper."""

    def test_the_interquartile_mean_cuts_a_quarter_at_either_end(self) -> None:
        assert statistics.iqm(np.array([8.0, 1, 2, 3, 4, 5, 6, 7])) == 4.5
        assert statistics.iqm(np.array([100.0, 1, 2, 3, 0])) == 2.0
        assert statistics.iqm(np.array([1.0, 2, 6])) == 3.0  # a quarter of three is less than one

    def test_ties_count_half_in_the_probability_of_improvement(self) -> None:
        assert statistics.probability_of_improvement(np.array([1.0, 2, 3]), np.array([2.0, 2])) == 0.5
        assert statistics.probability_of_improvement(np.array([5.0, 6]), np.array([1.0, 2, 3])) == 1.0

    def test_the_profile_is_the_share_above(self) -> None:
        profile = statistics.performance_profile(np.array([1.0, 2, 2, 5]), np.array([0.0, 1, 2, 5]))
        assert profile.tolist() == [1.0, 0.75, 0.25, 0.0]

    @pytest.mark.parametrize(
        ("start", "end", "height"),
        [(0, 10, 5.0), (5, 10, 7.5), (0, 20, 7.5), (10, 10, 10.0), (2, 4, 3.0)],
    )
    def test_the_area_is_a_mean_height(self, start: float, end: float, height: float) -> None:
        steps, values = np.array([0.0, 5, 10]), np.array([0.0, 5, 10])
        assert statistics.mean_height(steps, values, start, end) == height

    def test_whoever_never_reached_it_is_slowest(self) -> None:
        assert statistics.median_of_censored([30.0, None, 10.0]) == 30.0
        assert statistics.median_of_censored([30.0, None, None]) is None
        assert statistics.median_of_censored([10.0, 20.0]) == 15.0
        assert statistics.median_of_censored([10.0, None]) is None

    def test_the_first_value_that_reaches(self) -> None:
        assert statistics.first_at_least(np.array([1.0, 3, 2, 3]), 3.0) == 1
        assert statistics.first_at_least(np.array([1.0, 2]), 3.0) is None

    def test_permutations_that_can_be_counted_on_fingers(self) -> None:
        # Of the six ways to halve 1, 2, 3, 4 two are as far apart as {1, 2} and {3, 4}, and one of them has 1, 2 first.
        first, second = np.array([1.0, 2]), np.array([3.0, 4])
        assert permutation_test(first, second) == (2 / 6, True, 6, 2 / 6)
        assert permutation_test(first, second, less=True) == (1 / 6, True, 6, 1 / 6)
        assert permutation_test(second, first, less=True) == (6 / 6, True, 6, 1 / 6)
        # {1}, of two, against three: only the observed one is as far out: t = -2.5 / sqrt(0.25 + 1/3)
        uneven = permutation_test(np.array([1.0, 2]), np.array([5.0, 6, 7]))
        assert uneven == (1 / 10, True, 10, 1 / 10)

    def test_three_against_three_seeds_never_decide_and_five_against_five_can(self) -> None:
        apart = permutation_test(np.array([1.0, 2, 3]), np.array([101.0, 102, 103]))
        assert apart is not None
        assert apart.p == apart.smallest == 0.1
        more = permutation_test(np.arange(5.0), 100 + np.arange(5.0))
        assert more is not None
        assert more.p == more.smallest == 2 / 252

    def test_equal_seeds_are_no_evidence(self) -> None:
        same = permutation_test(np.full(5, 500.0), np.full(5, 500.0))
        assert same is not None
        assert same.p == 1.0
        lone = permutation_test(np.full(5, 0.1), np.full(5, 0.2))
        assert lone is not None
        assert lone.p == 2 / 252
        assert welch_test(np.full(5, 500.0), np.full(5, 500.0)) == (1.0, 1.0, (0.0, 0.0))

    def test_holm(self) -> None:
        assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
        assert holm([0.5, 0.9]) == [1.0, 1.0]
        assert holm([]) == []
        assert holm([0.02, 0.01], total=4) == [0.06, 0.04]

    def test_one_seed_has_no_spread(self) -> None:
        assert permutation_test(np.array([1.0]), np.arange(9.0)) is None
        assert welch_test(np.array([1.0]), np.arange(9.0)) is None
        assert seeds_needed(np.array([1.0]), np.arange(9.0), 0.05) is None
        assert statistics.interval(np.array([1.0]), statistics.mean) is None


@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
def test_a_band_is_at_each_point_the_interval_there(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(size=(seeds, 6))
    low, high = statistics.curve_band(values)
    for point in range(6):
        # Ranks are drawn: where seeds stand in order, the very resamples of a single score.
        alone = statistics.interval(np.sort(values[:, point]), statistics.iqm, draws=1_000)
        assert alone is not None
        assert (low[point], high[point]) == pytest.approx((alone.low, alone.high))


class TestAgainstSciPy:
    """The same answers from another program."""

    scipy = pytest.importorskip("scipy.stats")

    @pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (5, 5), (4, 7), (7, 4), (2, 9)])
    @pytest.mark.parametrize("seed", range(3))
    def test_permutation_test(self, sizes: tuple[int, int], seed: int) -> None:
        first, second = draw(seed, *sizes)

        def size(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
            return np.abs(self.scipy.ttest_ind(one, other, equal_var=False, axis=axis).statistic)

        def t(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
            return self.scipy.ttest_ind(one, other, equal_var=False, axis=axis).statistic

        ours, less = permutation_test(first, second), permutation_test(first, second, less=True)
        assert ours is not None
        assert less is not None
        options = {"vectorized": True, "n_resamples": np.inf}
        theirs = self.scipy.permutation_test((first, second), size, alternative="greater", **options)
        assert ours.p == pytest.approx(theirs.pvalue, abs=1e-12)
        theirs = self.scipy.permutation_test((first, second), t, alternative="less", **options)
        assert less.p == pytest.approx(theirs.pvalue, abs=1e-12)

    @pytest.mark.parametrize("sizes", [(2, 2), (3, 8), (10, 10), (40, 5)])
    def test_welch(self, sizes: tuple[int, int]) -> None:
        first, second = draw(1, *sizes)
        ours = welch_test(first, second, 0.9)
        theirs = self.scipy.ttest_ind(first, second, equal_var=False)
        assert ours is not None
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
        less = self.scipy.ttest_ind(first, second, equal_var=False, alternative="less")
        assert ours.p_less == pytest.approx(less.pvalue, rel=1e-9)
        assert ours.interval == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-9)

    @pytest.mark.parametrize("freedom", [1.0, 1.7, 3.0, 10.0, 200.0, 1e4])
    def test_student(self, freedom: float) -> None:
        for t in (0.0, 0.01, 0.5, 1.0, 2.0, 5.0, 40.0, 1e4):
            ours = tests_of_means.two_sided_t(t, freedom)
            assert ours == pytest.approx(2 * self.scipy.t.sf(t, freedom), rel=1e-8, abs=1e-200)
        for p in (0.5, 0.05, 1e-4):
            assert tests_of_means.t_quantile(p, freedom) == pytest.approx(self.scipy.t.isf(p / 2, freedom), rel=1e-8)

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 11, 20])
    def test_interquartile_mean(self, count: int) -> None:
        (scores,) = draw(2, count)
        assert statistics.iqm(scores) == pytest.approx(self.scipy.trim_mean(scores, 0.25))

    @pytest.mark.parametrize("sizes", [(3, 3), (5, 9)])
    def test_probability_of_improvement(self, sizes: tuple[int, int]) -> None:
        first, second = (one.round() for one in draw(3, *sizes))
        theirs = self.scipy.mannwhitneyu(first, second).statistic / (len(first) * len(second))
        assert statistics.probability_of_improvement(first, second) == pytest.approx(theirs)

    def test_bootstrap_interval(self) -> None:
        (scores,) = draw(4, 12)
        ours = statistics.interval(scores, statistics.mean)
        theirs = self.scipy.bootstrap((scores,), np.mean, method="percentile", n_resamples=10_000, rng=1)
        assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)


class TestWhatMustNotMatter:
    """Units, names and order."""

    @given(SCORES, SCORES, st.floats(-100, 100), st.sampled_from([1e-3, 1.0, 1e6]))
    @settings(max_examples=60, deadline=None)
    def test_units(self, first: np.ndarray, second: np.ndarray, shift: float, factor: float) -> None:
        before = permutation_test(first, second)
        after = permutation_test(first * factor, second * factor)
        assert before == after
        assert welch_test(first, second) is not None

    @given(SCORES, SCORES)
    @settings(max_examples=60, deadline=None)
    def test_which_is_called_first(self, first: np.ndarray, second: np.ndarray) -> None:
        there, back = permutation_test(first, second), permutation_test(second, first)
        assert there == back
        assert there is not None
        assert there.smallest <= there.p <= 1

    def test_what_else_is_tested_beside_it(self) -> None:
        pairs = [tuple(draw(seed, 4, size)) for seed, size in enumerate((4, 5, 4, 6, 5) * 20)]
        together = permutation_tests([(one, other) for one, other in pairs])
        assert together == [permutation_test(one, other) for one, other in pairs]

    def test_the_order_of_seeds(self) -> None:
        first, second = draw(5, 9, 9)
        turned = permutation_test(first[::-1], np.roll(second, 3))
        assert turned == permutation_test(first, second)


class TestManySeeds:
    """Where not every split can be tried."""

    def test_drawn_splits_come_close_to_all_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = draw(6, 8, 8)
        exact = permutation_test(first, second)
        monkeypatch.setattr(tests_of_means, "MOST_SPLITS", 100)
        drawn = permutation_test(first, second)
        assert exact is not None
        assert drawn is not None
        assert (exact.exact, drawn.exact, drawn.splits) == (True, False, 100_000)
        assert drawn.p == pytest.approx(exact.p, abs=0.005)

    def test_the_observed_split_counts_among_the_drawn(self) -> None:
        test = permutation_test(np.arange(40.0), 1000 + np.arange(40.0))
        assert test is not None
        assert test.p == test.smallest == 1 / 100_001
        assert smallest_p(40, 40) == 1 / 100_001

    def test_the_same_draws_each_time(self) -> None:
        first, second = draw(7, 30, 30)
        assert permutation_test(first, second) == permutation_test(first, second)
        assert statistics.interval(first, statistics.iqm) == statistics.interval(first, statistics.iqm)


def test_groups_of_equal_means_are_seldom_found_different() -> None:
    rng = np.random.default_rng(8)
    found = permutation_tests([(rng.exponential(size=5), rng.exponential(size=5)) for _ in range(1500)])
    rate = np.mean([test is not None and test.p <= 0.05 for test in found])
    assert rate <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1500)


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 17), (1.5, 9)])
def test_seeds_needed_for_a_known_effect(effect: float, seeds: int) -> None:
    """By tables of power, a t-test at 5 % finds a difference of one deviation with 17 seeds a group in 80 %."""
    quantiles = np.array([math.sqrt(2) * _inverse_erf(2 * (k + 0.5) / 200 - 1) for k in range(200)])
    needed = seeds_needed(quantiles + effect, quantiles, 0.05)
    assert needed is not None
    assert needed.likely is not None
    assert abs(needed.likely - seeds) <= 2
    assert needed.low is not None
    assert needed.high is not None
    assert needed.low <= needed.likely <= needed.high


def test_few_seeds_understate_the_spread_and_the_forecast_allows_for_it() -> None:
    few, many = np.array([0.0, 1, 2]), np.tile([0.0, 1, 2], 20)
    from_few, from_many = seeds_needed(few + 1, few, 0.05), seeds_needed(many + 1, many, 0.05)
    assert from_few is not None
    assert from_many is not None
    assert from_few.likely is not None
    assert from_many.likely is not None
    assert from_few.likely >= 1.3 * from_many.likely  # the variance of three is two thirds of what it should be


def test_seeds_needed_tells_how_little_few_seeds_say() -> None:
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([1.5, 2.5, 3.5, 4.5, 5.5])
    needed = seeds_needed(first, second, 0.05)
    assert needed is not None
    assert needed.likely is None  # the difference is a third of a deviation: 142 seeds
    assert needed.low is not None
    assert needed.high is None


def _inverse_erf(value: float) -> float:
    low, high = -6.0, 6.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < value else (low, middle)
    return low


def test_what_decides() -> None:
    """The larger p-value of both tests, unless each of at least five seeds beats each of the other group."""
    ceiling, below = np.full(5, 500.0), np.array([225.0, 408, 420, 449, 481])

    def decides(first: np.ndarray, second: np.ndarray, less: bool = False) -> tuple[float, float, float]:
        test, welch = permutation_test(first, second, less), welch_test(first, second)
        assert test is not None
        assert welch is not None
        return deciding_p(first, second, test, welch, less), test.p, welch.p_less if less else welch.p

    p, permuted, welch = decides(ceiling, below)
    assert p == permuted == 2 / 252 < 0.05 < welch
    p, permuted, welch = decides(ceiling[1:], below[1:])  # four seeds that lie apart are too few for that
    assert p == max(permuted, welch)
    p, permuted, welch = decides(ceiling, np.append(below, 500.0))
    assert p == max(permuted, welch) == welch > permuted
    p, permuted, welch = decides(below, ceiling, less=True)
    assert p == permuted == 1 / 252
