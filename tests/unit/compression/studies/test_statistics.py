"""Tests, effects and power against numbers that others published or that follow by hand."""

import math

import pytest
from scipy import stats

from edgefleet_compression.studies.statistics import (
    bootstrap_interval,
    detectable_effect,
    effect_size,
    holm,
    mean_interval,
    noncentral_t_cdf,
    paired_power,
    paired_test,
    ratio_interval,
)


def test_holm_gives_what_r_gives() -> None:
    """R: p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm") and p.adjust(c(0.04, 0.001, 0.03), "holm")."""
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert holm([]) == []


def test_power_of_a_paired_test_is_that_of_g_power() -> None:
    """G*Power 3.1, t tests, matched pairs, two tails, alpha 0.05: d_z 0.5 needs 34 pairs for 0.8, and has 0.8078."""
    assert paired_power(0.5, 34) == pytest.approx(0.8078, abs=5e-4)
    assert paired_power(0.5, 33) < 0.8
    assert paired_power(0.0, 10) == pytest.approx(0.05, abs=1e-5)


def test_detectable_effect_has_the_power_asked_for() -> None:
    assert paired_power(detectable_effect(6), 6) == pytest.approx(0.8)
    assert detectable_effect(6) > detectable_effect(12)


def test_interval_of_three_values_uses_students_4_30() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.value, found.n) == (2.0, 3)
    assert found.high - 2.0 == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)


def test_six_pairs_of_one_sign_reach_the_smallest_wilcoxon_p() -> None:
    test = paired_test([1.1, 1.2, 1.3, 1.4, 1.5, 1.6], [1.0] * 6)
    assert test.p_wilcoxon == pytest.approx(2 / 2**6)
    assert test.p_t == pytest.approx(float(stats.ttest_1samp([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.0).pvalue))


def test_equal_differences_leave_tests_undefined() -> None:
    test = paired_test([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])
    assert (test.p_t, test.p_wilcoxon, test.d_z, test.detectable) == (None, None, None, None)


def test_effect_size_interval_inverts_the_noncentral_t() -> None:
    """Its ends are the effects under which the observed t lies at the 97.5th and the 2.5th percentile."""
    found = effect_size(0.8, 10)
    observed = 0.8 * math.sqrt(10)
    assert stats.nct.cdf(observed, 9, found.low * math.sqrt(10)) == pytest.approx(0.975, abs=1e-5)
    assert stats.nct.cdf(observed, 9, found.high * math.sqrt(10)) == pytest.approx(0.025, abs=1e-5)


@pytest.mark.parametrize(
    ("t", "degrees", "delta"), [(2.57, 5, 1.2), (-2.0, 9, 0.5), (2.03, 33, 2.9), (4.3, 2, 0.0), (3.0, 1, 2.0)]
)
def test_noncentral_t_is_scipys_where_scipy_has_one(t: float, degrees: int, delta: float) -> None:
    assert noncentral_t_cdf(t, degrees, delta) == pytest.approx(float(stats.nct.cdf(t, degrees, delta)), abs=1e-5)


def test_noncentral_t_goes_on_where_scipys_is_not_a_number() -> None:
    assert noncentral_t_cdf(2.57, 5, 48.0) == pytest.approx(0.0, abs=1e-9)
    assert 0.0 <= noncentral_t_cdf(100.0, 5, 48.0) <= 1.0


def test_ratio_is_the_geometric_mean() -> None:
    found = ratio_interval([2.0, 8.0], [1.0, 1.0])
    assert found.value == pytest.approx(4.0)
    with pytest.raises(ValueError, match="positive"):
        ratio_interval([0.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("sides", [([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_too_few_or_unlike_pairs_are_refused(sides: "tuple[list[float], list[float]]") -> None:
    with pytest.raises(ValueError, match="two"):
        paired_test(*sides)


def test_bootstrap_counts_what_could_not_be_computed_as_worst() -> None:
    low, high = bootstrap_interval(4, lambda indices: math.nan if indices[0] == 0 else 1.0)
    assert low == -math.inf
    assert high == 1.0
