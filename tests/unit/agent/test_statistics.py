"""Figures of the statistics against published tables, closed forms and other libraries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgefleet_agent.statistics import (
    SamplesInsufficient,
    SteadyOutcome,
    count_outliers,
    early_stopping_discards,
    early_stopping_estimate,
    find_steady_state,
    hierarchical_ratio,
    interval_ranks,
    launch_interval,
    mann_kendall_z,
    minimum_count,
    paired_ratio,
    percentile,
    percentile_interval,
    steady_tolerance,
    summarize_latency,
    wilson_interval,
)

COUNTS = {
    # MLPerf's rule with tolerance 0 and confidence 0.99: least n by percentile for t = 0, 1, 2, 5, 10
    0.50: (7, 11, 14, 22, 35),
    0.90: (44, 64, 81, 127, 197),
    0.95: (90, 130, 165, 259, 398),
    0.97: (152, 219, 277, 433, 667),
    0.99: (459, 662, 838, 1307, 2010),
    0.999: (4603, 6636, 8403, 13105, 20140),
}


class TestPercentile:
    def test_is_numpys_default(self) -> None:
        assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
        assert percentile([1.0, 2.0, 3.0, 4.0, 5.0], 0.9) == pytest.approx(4.6)

    def test_of_nothing_is_refused(self) -> None:
        with pytest.raises(SamplesInsufficient):
            percentile([], 0.5)


class TestEarlyStopping:
    @pytest.mark.parametrize("probability", COUNTS)
    def test_minimum_counts_equal_the_table(self, probability: float) -> None:
        counts = tuple(minimum_count(probability, 0.99, discards) for discards in (0, 1, 2, 5, 10))
        assert counts == COUNTS[probability]

    @pytest.mark.parametrize(("n", "discarded"), [(2048, 172), (2116, 178), (2145, 181), (7469, 685)])
    def test_discards_equal_loadgen_logs(self, n: int, discarded: int) -> None:
        """Published LoadGen summaries: "would discard ... highest latencies" for p90."""
        discards = early_stopping_discards(n, 0.9)
        assert discards is not None
        assert discards - 1 == discarded

    def test_estimate_is_the_largest_kept_latency(self) -> None:
        assert early_stopping_estimate(np.arange(1, 2049), 0.9) == 2048 - 172
        assert early_stopping_estimate(np.arange(63), 0.9) is None


class TestIntervals:
    @pytest.mark.parametrize(("n", "p"), [(20, 0.5), (64, 0.9), (700, 0.99), (5000, 0.9), (100_000, 0.999)])
    def test_ranks_hold_the_confidence_and_no_narrower_pair_of_tails_does(self, n: int, p: float) -> None:
        """Against scipy's binomial distribution."""
        ranks = interval_ranks(n, p, 0.95)
        if ranks is None:
            pytest.fail("n is large enough for an interval")
        low, high = ranks
        assert stats.binom.cdf(low - 1, n, p) <= 0.025 < stats.binom.cdf(low, n, p)
        assert stats.binom.sf(high - 1, n, p) <= 0.025 < stats.binom.sf(high - 2, n, p)

    def test_too_few_samples_have_no_interval(self) -> None:
        assert interval_ranks(0, 0.5, 0.99) is None
        assert percentile_interval([1.0, 2.0, 3.0], 0.5) is None

    def test_least_n_for_a_median_interval_is_eight(self) -> None:
        """2 (1/2)^n <= 0.01 needs n >= 8."""
        assert interval_ranks(7, 0.5, 0.99) is None
        assert interval_ranks(8, 0.5, 0.99) == (1, 8)

    def test_coverage_is_at_least_the_stated_one(self) -> None:
        rng = np.random.default_rng(1)
        true = math.log(10)  # 90th percentile of the exponential distribution
        hits = 0
        for _ in range(400):
            interval = percentile_interval(rng.exponential(size=200), 0.9, 0.95)
            assert interval is not None
            hits += interval[0] <= true <= interval[1]
        assert hits >= 0.95 * 400 - 3 * math.sqrt(400 * 0.95 * 0.05)

    @given(st.lists(st.integers(1, 10**9), min_size=11, max_size=300))
    def test_estimates_lie_in_their_intervals(self, latency_ns: "list[int]") -> None:
        figures = summarize_latency(latency_ns)
        for name, (low, high) in figures.intervals.items():
            value = figures.percentiles[name]
            assert value is not None
            assert low <= value <= high

    def test_wilson_equals_scipy(self) -> None:
        expected = stats.binomtest(340, 360).proportion_ci(0.95, method="wilson")
        assert wilson_interval(340, 360) == pytest.approx((expected.low, expected.high))
        assert wilson_interval(0, 0) is None

    def test_wilson_stays_within_zero_and_one(self) -> None:
        assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


class TestSummary:
    @pytest.mark.parametrize(
        ("n", "published"), [(0, []), (10, []), (11, ["p50"]), (64, ["p50", "p90"]), (662, ["p50", "p90", "p99"])]
    )
    def test_percentiles_appear_with_their_counts(self, n: int, published: "list[str]") -> None:
        figures = summarize_latency([1_000_000 + i for i in range(n)])
        assert [name for name, value in figures.percentiles.items() if value is not None] == published
        assert set(figures.too_few) == {"p50", "p90", "p99"} - set(published)

    def test_of_no_samples_has_no_figures(self) -> None:
        figures = summarize_latency([])
        assert (figures.n, figures.mean, figures.minimum, figures.maximum) == (0, None, None, None)

    def test_outliers_are_counted_and_never_removed(self) -> None:
        figures = summarize_latency([1_000_000, 1_100_000, 1_200_000, 1_300_000] * 5 + [50_000_000])
        assert figures.n_outliers == 1
        assert figures.maximum == 50.0

    def test_constant_series_has_no_outliers(self) -> None:
        assert count_outliers([5.0] * 10) == 0


class TestBootstrap:
    def test_paired_ratio_cancels_what_both_share(self) -> None:
        rng = np.random.default_rng(0)
        level = rng.uniform(1, 3, size=60)
        estimate = paired_ratio(level * 1.03 * rng.normal(1, 0.002, 60), level)
        assert estimate.low <= 1.03 <= estimate.high
        assert estimate.high - estimate.low < 0.005

    def test_hierarchical_interval_is_wider_than_launch_noise_suggests(self) -> None:
        rng = np.random.default_rng(0)
        launches = [rng.normal(10 * level, 0.01, 200) for level in (1.0, 1.1, 0.9, 1.05, 0.95)]
        estimate = hierarchical_ratio(launches, launches, n_resamples=300)
        assert estimate.value == 1.0
        assert estimate.high - estimate.low > 0.05

    def test_launch_interval_of_equal_launches_is_that_of_the_samples(self) -> None:
        """Mean of 3 x 400 samples of N(10, 1): s / sqrt(n) = 0.0289, so the 95 % interval is 0.113 wide."""
        rng = np.random.default_rng(4)
        estimate = launch_interval([rng.normal(10, 1, 400) for _ in range(3)], "mean")
        assert estimate.low < 10 < estimate.high
        assert 0.08 < estimate.high - estimate.low < 0.25

    @pytest.mark.parametrize("figure", ["p50", "mean"])
    def test_launch_interval_spans_launches_that_disagree(self, figure: str) -> None:
        rng = np.random.default_rng(4)
        estimate = launch_interval([rng.normal(level, 0.01, 500) for level in (9.0, 10.0, 11.0)], figure)
        assert estimate.value == pytest.approx(10.0, abs=0.01)
        assert estimate.low < 9.5
        assert estimate.high > 10.5

    def test_resampled_median_has_the_known_spread(self) -> None:
        """The median of n normal samples has standard deviation sqrt(pi / 2n): 0.0396 for n = 1001."""
        rng = np.random.default_rng(4)
        estimate = launch_interval([rng.normal(0, 1, 1001)], "p50")
        assert (estimate.high - estimate.low) / 3.92 == pytest.approx(math.sqrt(math.pi / 2002), rel=0.25)

    def test_launches_without_samples_are_refused(self) -> None:
        with pytest.raises(SamplesInsufficient):
            launch_interval([[1.0], []], "p50")

    def test_unequal_pairs_and_empty_launches_are_refused(self) -> None:
        with pytest.raises(SamplesInsufficient):
            paired_ratio([1.0], [1.0, 2.0])
        with pytest.raises(SamplesInsufficient):
            hierarchical_ratio([[1.0], []], [[1.0]])


def series(levels: "list[float]", per_level: int = 60, step_s: float = 0.01) -> "tuple[np.ndarray, np.ndarray]":
    """Latencies of the given levels (ns), each held for ``per_level`` inferences, with 0.2 % noise."""
    rng = np.random.default_rng(3)
    latency = np.repeat(levels, per_level) * rng.normal(1, 0.002, per_level * len(levels))
    return np.arange(latency.size) * step_s * 1e9, latency


class TestSteadyState:
    def test_flat_series_is_steady_from_the_start(self) -> None:
        assert find_steady_state(*series([1e6] * 10)).outcome is SteadyOutcome.FLAT

    def test_slow_start_is_a_warm_up_and_says_where_it_ends(self) -> None:
        steady = find_steady_state(*series([1.5e6, 1.2e6] + [1e6] * 8))
        assert steady.outcome is SteadyOutcome.WARMUP
        assert 120 <= steady.first_steady <= 240

    def test_later_level_that_is_slower_is_a_slowdown(self) -> None:
        assert find_steady_state(*series([1e6] * 6 + [1.3e6] * 5)).outcome is SteadyOutcome.SLOWDOWN

    def test_rising_end_is_a_slowdown(self) -> None:
        rising = [1e6] * 5 + [1e6 * (1 + 0.03 * i) for i in range(1, 6)]
        assert find_steady_state(*series(rising)).outcome is SteadyOutcome.SLOWDOWN

    def test_late_settling_leaves_no_steady_state(self) -> None:
        assert find_steady_state(*series([1.5e6] * 8 + [1e6] * 4)).outcome is SteadyOutcome.NO_STEADY_STATE

    def test_alternating_levels_have_no_steady_state(self) -> None:
        assert find_steady_state(*series([1e6, 1.2e6] * 6)).outcome is SteadyOutcome.NO_STEADY_STATE

    @pytest.mark.parametrize("n", [0, 1, 2, 14])
    def test_too_short_a_series_has_no_steady_state(self, n: int) -> None:
        outcome = find_steady_state(np.arange(n) * 1e7, np.full(n, 1e6)).outcome
        assert outcome is SteadyOutcome.NO_STEADY_STATE

    def test_long_inferences_fill_longer_segments(self) -> None:
        """40 inferences of 0.4 s: 0.5 s would hold one of them."""
        rng = np.random.default_rng(0)
        steady = find_steady_state(np.arange(40) * 0.4e9, rng.normal(0.4e9, 1e6, 40))
        assert steady.outcome is SteadyOutcome.FLAT
        assert 3 <= len(steady.segment_medians_ns) <= 8

    @pytest.mark.parametrize("disturbed", [3, 7, 10, 11])
    def test_single_disturbed_segment_is_passed_over(self, disturbed: int) -> None:
        levels = [1e6] * 12
        levels[disturbed] = 1.15e6
        assert find_steady_state(*series(levels, per_level=50)).outcome is SteadyOutcome.FLAT

    def test_two_disturbed_segments_at_the_end_are_not(self) -> None:
        assert find_steady_state(*series([1e6] * 10 + [1.15e6] * 2, per_level=50)).outcome is SteadyOutcome.SLOWDOWN

    def test_jitter_of_a_virtual_host_is_one_level(self) -> None:
        """1 % from segment to segment: of 100 such series at most a few look unsteady."""
        unsteady = 0
        for seed in range(100):
            rng = np.random.default_rng(seed)
            levels = 1e6 * rng.normal(1, 0.01, 12)
            outcome = find_steady_state(*series(list(levels), per_level=50)).outcome
            unsteady += outcome not in (SteadyOutcome.FLAT, SteadyOutcome.WARMUP)
        assert unsteady <= 5

    def test_tolerance_follows_the_scatter_between_its_bounds(self) -> None:
        assert steady_tolerance([1.0, 1.001, 1.0, 1.001]) == 0.02
        assert steady_tolerance([1.0, 1.2, 1.0, 1.2]) == 0.05
        # |differences| 0.9 %: 0.009 / (0.6745 sqrt 2) = 0.00944 standard deviations, times four
        assert steady_tolerance([1.0, 1.009, 1.0, 1.009, 1.0]) == pytest.approx(0.0377, abs=1e-4)

    def test_mann_kendall_of_a_rising_series_of_ten(self) -> None:
        """S = 45, var S = 10 * 9 * 25 / 18 = 125: z = 44 / sqrt(125)."""
        assert mann_kendall_z(range(10)) == pytest.approx(44 / math.sqrt(125))
        assert mann_kendall_z([1.0, 1.0, 1.0]) == 0.0
