"""The uncertainty budget against hand-worked figures and published tables."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.measure.energy import power_series
from edgefleet_agent.measure.energy_checks import EnergyPolicy
from edgefleet_agent.measure.energy_overhead import block_order, compare_overhead
from edgefleet_agent.measure.energy_summary import summarize_energy
from edgefleet_agent.measure.energy_uncertainty import (
    WindowUncertainty,
    aliasing_w,
    batch_scatter,
    effective_codes,
    effective_freedom,
    make_budget,
    repeat_scatter,
    student_t_975,
    window_uncertainty,
)
from edgefleet_agent.sensors.fake.waveforms import Constant
from edgefleet_agent.wire.reasons import Reason

MakeBench = Callable[..., Any]


@pytest.mark.parametrize(
    ("freedom", "factor"), [(1, 12.706), (4, 2.776), (4.9, 2.776), (30, 2.042), (60, 2.000), (120, 1.980), (1e9, 1.960)]
)
def test_student_t_of_the_nist_table(freedom: float, factor: float) -> None:
    assert student_t_975(freedom) == pytest.approx(factor, abs=1e-3)


def test_pi_4_example_of_the_reference(make_bench: MakeBench) -> None:
    """5 V, 1 A, INA226 at 10 mOhm +-1 %, 10 s: gain 0.58 %, offset 5 mW/sqrt(3) = 0.06 % of 50 J, edges 0.004 %."""
    bench = make_bench(Constant(3.0), period_s=0.001)
    take = bench.take()
    series = power_series(take.recording)
    traits = take.recording.traits
    limits = type(traits.limits)(**{**traits.limits.__dict__, "offset_v": 0.0})  # the reference leaves the bus out
    terms = window_uncertainty(series, take.windows[0], 50.0, traits, limits)
    assert terms.gain_j / 50 == pytest.approx(0.0058, rel=0.02)
    assert terms.offset_j / 50 == pytest.approx(0.0006, rel=0.05)
    assert terms.edges_j / 50 == pytest.approx(0.00004, rel=0.1)


class TestEffectiveCodes:
    """Rounding errors average over codes, not over readings."""

    def test_signal_within_one_lsb_has_one(self) -> None:
        assert effective_codes(np.full(10_000, 1.234), 0.01) == 1.0

    def test_two_levels_have_two(self) -> None:
        assert effective_codes(np.repeat([1.0, 2.0], 5000), 0.01) == pytest.approx(2.0)

    def test_wide_signal_has_many(self) -> None:
        assert effective_codes(np.linspace(0.0, 1.0, 10_000), 0.01) == pytest.approx(100, rel=0.05)

    def test_nothing_known_counts_as_one(self) -> None:
        assert effective_codes(np.full(5, np.nan), 0.01) == 1.0
        assert effective_codes(np.ones(5), 0.0) == 1.0


class TestBatchMeans:
    """Scatter of the parts of a window."""

    def test_independent_batches_give_the_standard_error(self) -> None:
        rng = np.random.default_rng(0)
        found = [batch_scatter(rng.normal(10.0, 1.0, 20)) for _ in range(2000)]
        assert np.sqrt(np.mean(np.square(found))) == pytest.approx(1 / 20**0.5, rel=0.02)

    def test_drift_is_no_scatter(self) -> None:
        """Steps of 0.1 in a rise by 1.9: far below the 0.13 of an ordinary standard error."""
        assert batch_scatter(np.linspace(9.0, 10.9, 20)) == pytest.approx(0.1 / 40**0.5)

    def test_single_batch_says_nothing(self) -> None:
        assert batch_scatter(np.array([1.0])) == 0.0


def test_welch_satterthwaite_by_hand() -> None:
    """u_A = 1 with 4 degrees, u_c = sqrt(2): 4 * 4 = 16."""
    assert effective_freedom(1.0, 2**0.5, 4.0) == pytest.approx(16.0)
    assert effective_freedom(0.0, 1.0, 4.0) > 1e6


def test_common_errors_do_not_average_over_windows() -> None:
    window = WindowUncertainty(1.0, 0.5, 0.25, 0.2, 0.1, 0.0)
    energies, counts = np.full(4, 100.0), np.full(4, 10.0)
    budget = make_budget([window] * 4, energies, counts)
    assert budget.terms_j["gain"] == pytest.approx(0.1)
    assert budget.terms_j["edges"] == pytest.approx(0.02 / 2)
    assert budget.coverage_factor == 2.0


def test_scatter_of_repeats_widens_the_factor() -> None:
    """Five repeats dominate the budget: Student's t for 4 degrees."""
    window = WindowUncertainty(1e-6, 0.0, 0.0, 0.0, 0.0, 0.0)
    budget = make_budget([window] * 5, np.array([98.0, 101.0, 100.0, 102.0, 99.0]), np.ones(5))
    assert budget.coverage_factor == pytest.approx(2.776)
    assert budget.terms_j["scatter"] == pytest.approx(np.std([98, 101, 100, 102, 99], ddof=1) / 5**0.5)


def test_point_samples_at_10_hz_get_a_large_allowance(make_bench: MakeBench) -> None:
    """Reference 5.2: 3.6 % for unaveraged samples at 10 Hz over 10 s of 6 W (60 %) and 3 W."""
    take = make_bench().take()
    series = power_series(take.recording)
    traits = type(take.recording.traits)(**{**take.recording.traits.__dict__, "averaging_s": 0.0})
    point = type(series)(**{**series.__dict__, "power_w": np.where(np.arange(len(series.t_s)) % 5 < 3, 6.0, 3.0)})
    assert aliasing_w(point, slice(100, 5100), traits, 100) / 4.8 == pytest.approx(0.0306, rel=0.01)


def test_unknown_accuracy_states_no_uncertainty(make_bench: MakeBench) -> None:
    take = make_bench().take()
    recording = take.recording
    traits = type(recording.traits)(**{**recording.traits.__dict__, "limits": None})
    unknown = type(take)(
        type(recording)(**{**recording.__dict__, "traits": traits}), take.idle_before, take.idle_after, take.windows
    )
    summary = summarize_energy([unknown], EnergyPolicy())
    assert summary.value_mj is not None
    assert summary.expanded_uncertainty_mj is None
    assert Reason.UNCERTAINTY_UNKNOWN.value in summary.detail["reasons"]


class TestOverhead:
    """Metered against unmetered blocks."""

    def blocks(self, factor: float) -> list[Any]:
        rng = np.random.default_rng(1)
        return [factor * rng.lognormal(0.0, 0.02, 200) for _ in range(20)]

    def test_blocks_are_interleaved_against_drift(self) -> None:
        assert "".join("MU"[not metered] for metered in block_order(4)) == "MUUMMUUM"

    def test_equal_blocks_have_no_overhead(self) -> None:
        overhead = compare_overhead(self.blocks(1.0), self.blocks(1.0)[::-1])
        assert overhead.median_ratio.low <= 1.0 <= overhead.median_ratio.high
        assert overhead.remarks == ()

    def test_five_percent_are_remarked(self) -> None:
        overhead = compare_overhead(self.blocks(1.05), self.blocks(1.0))
        assert overhead.median_ratio.value == pytest.approx(1.05)
        assert overhead.remarks == (Reason.OVERHEAD_HIGH,)
        assert set(overhead.to_json()) == {"overhead_median_ratio", "overhead_p99_ratio"}


class TestLaunches:
    def test_scatter_between_launches_stands_where_it_is_larger(self) -> None:
        """Two launches at 99 and 101: s = sqrt(2), s / sqrt(2) = 1 with one degree of freedom."""
        values = np.array([99.0, 99.0, 99.0, 101.0, 101.0, 101.0])
        assert repeat_scatter(values, [0, 0, 0, 1, 1, 1]) == pytest.approx((1.0, 1.0))
        # taken as six independent windows: s = sqrt(6 / 5), s / sqrt(6) = 0.447
        assert repeat_scatter(values) == pytest.approx((0.4472, 5.0), abs=1e-4)

    def test_launches_that_are_alike_leave_the_scatter_of_the_windows(self) -> None:
        values = np.array([99.0, 101.0, 99.0, 101.0])
        assert repeat_scatter(values, [0, 0, 1, 1]) == pytest.approx((0.5774, 3.0), abs=1e-4)

    def test_few_launches_widen_the_interval_by_student_s_factor(self) -> None:
        window = WindowUncertainty(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        energies = np.array([99.0, 99.0, 101.0, 101.0])
        budget = make_budget([window] * 4, energies, np.ones(4), [0, 0, 1, 1])
        assert budget.terms_j["scatter"] == pytest.approx(1.0)
        assert budget.coverage_factor == pytest.approx(12.706)
