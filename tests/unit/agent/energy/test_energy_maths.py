"""Integration, windows and idle lines: hand-worked integrals and properties."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefleet_agent.measure.energy import (
    Floats,
    IdleLine,
    PowerSeries,
    Span,
    Window,
    batch_energies,
    count_distinct,
    energy_between,
    integrate_power,
    power_series,
    split_windows,
    staleness,
)
from edgefleet_agent.measure.energy_checks import EnergyPolicy
from edgefleet_agent.measure.energy_summary import estimate_energy, summarize_energy
from edgefleet_agent.measure.energy_trials import bias_10s, run_trial, summarize_trials
from edgefleet_agent.sensors.fake.waveforms import Constant, Square

MakeBench = Callable[..., Any]
PROPERTY = settings(derandomize=True, max_examples=40, deadline=None)
POLICY = EnergyPolicy()


def series_of(t_s: Any, power_w: Any) -> PowerSeries:
    t, p = np.asarray(t_s, dtype=np.float64), np.asarray(power_w, dtype=np.float64)
    empty = np.full(len(t), np.nan)
    return PowerSeries(0, t, p, empty, empty, None, spacing_s=1.0, lag_s=0.0)


def times(n: int) -> Floats:
    """Every 10 ms from zero."""
    return np.arange(n, dtype=np.float64) * 0.01


class TestIntegration:
    """Trapezoids with interpolated edges."""

    def test_triangle_by_hand(self) -> None:
        """0 W at 0 s, 2 W at 1 s, 0 W at 2 s: 2 J in all, 0.25 J in the first half second, 1.5 J in the middle."""
        t, p = np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 0.0])
        energies = integrate_power(t, p, np.array([0.0, 0.0, 0.5]), np.array([2.0, 0.5, 1.5]))
        assert energies == pytest.approx([2.0, 0.25, 1.5])

    def test_outside_the_samples_there_is_no_figure(self) -> None:
        t, p = np.array([0.0, 1.0]), np.array([1.0, 1.0])
        assert np.isnan(integrate_power(t, p, np.array([-0.1, 0.5]), np.array([0.5, 1.1]))).all()

    @PROPERTY
    @given(
        st.lists(st.floats(0.1, 10.0), min_size=5, max_size=40),
        st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
    )
    def test_energies_add_up(self, powers: list[float], shares: list[float]) -> None:
        t, p = times(len(powers)), np.array(powers)
        a, b, c = sorted(share * t[-1] for share in shares)
        whole = float(integrate_power(t, p, a, c))
        parts = float(integrate_power(t, p, a, b)) + float(integrate_power(t, p, b, c))
        assert whole == pytest.approx(parts, abs=1e-9)

    @PROPERTY
    @given(st.lists(st.floats(0.1, 10.0), min_size=5, max_size=40), st.floats(-1e4, 1e4))
    def test_energy_does_not_depend_on_when_it_is_measured(self, powers: list[float], shift_s: float) -> None:
        t, p = times(len(powers)), np.array(powers)
        a, b = 0.003, t[-1] - 0.004
        moved = float(integrate_power(t + shift_s, p, a + shift_s, b + shift_s))
        assert moved == pytest.approx(float(integrate_power(t, p, a, b)), rel=1e-6)

    @PROPERTY
    @given(st.lists(st.floats(0.1, 10.0), min_size=5, max_size=40), st.floats(0.1, 10.0))
    def test_energy_is_linear_in_power(self, powers: list[float], factor: float) -> None:
        """A shunt of another resistance scales all readings alike."""
        t, p = times(len(powers)), np.array(powers)
        scaled = float(integrate_power(t, p * factor, 0.0, t[-1]))
        assert scaled == pytest.approx(factor * float(integrate_power(t, p, 0.0, t[-1])))

    @PROPERTY
    @given(st.integers(0, 1000))
    def test_energy_hardly_depends_on_the_order_of_the_jitter(self, seed: int) -> None:
        """Reads of a steady load come early or late in any order; linear power between them stays linear."""
        rng = np.random.default_rng(seed)
        late_s = rng.exponential(50e-6, 500)
        shuffled_s = rng.permutation(late_s)
        energies = []
        for jitter_s in (late_s, shuffled_s):
            t = np.arange(500) * 1e-3 + jitter_s
            energies.append(float(integrate_power(t, 3.0 + 0.5 * t, 0.01, 0.45)))
        assert energies[0] == pytest.approx(energies[1], rel=1e-9)

    def test_half_the_sample_period_reduces_the_error(self) -> None:
        """Second order for a smooth load: a quarter of the error."""
        errors = []
        for n in (40, 80, 160):
            t = np.linspace(0.0, 1.0, n + 1)
            exact = 3.0 + 0.5 / (2 * np.pi * 1.3) * (1 - np.cos(2 * np.pi * 1.3))
            errors.append(abs(float(integrate_power(t, 3.0 + 0.5 * np.sin(2 * np.pi * 1.3 * t), 0.0, 1.0)) - exact))
        assert errors[1] == pytest.approx(errors[0] / 4, rel=0.05)
        assert errors[2] == pytest.approx(errors[1] / 4, rel=0.05)


class TestLag:
    """Results appear after the time they describe."""

    @pytest.mark.parametrize(
        ("period_s", "cycle_s", "has_flag", "expected_s"),
        [(0.001, 0.004, True, 0.0005), (0.01, 0.004, True, 0.002), (0.001, 0.004, False, 0.002)],
    )
    def test_mean_age_of_a_result(self, period_s: float, cycle_s: float, *, has_flag: bool, expected_s: float) -> None:
        assert staleness(period_s, cycle_s, has_flag=has_flag) == pytest.approx(expected_s)

    @pytest.mark.parametrize("readiness", ["flag", "timed"])
    def test_correction_centres_a_step(self, readiness: str, make_bench: MakeBench) -> None:
        """Without it, a window that begins at a step would miss half a cycle of the load."""
        bench = make_bench(Constant(4.0), window_s=2.0, n_windows=1, readiness=readiness, period_s=0.005)
        take = bench.take()
        series = power_series(take.recording)
        energy = float(energy_between(series, [take.windows[0].span])[0])
        assert energy == pytest.approx(2.0 * 6.0, rel=1e-3)


class TestWindows:
    """Cut at the starts of inferences."""

    def test_windows_are_contiguous_and_count_every_inference(self) -> None:
        latency = np.full(1000, 25_000_000, dtype=np.int64)
        start = np.cumsum(latency) - latency[0]
        windows = split_windows(start, latency, 5)
        assert [window.n_inferences for window in windows] == [200] * 5
        assert windows[0].span.end_ns == windows[1].span.start_ns
        assert windows[-1].span.end_ns == 25_000_000_000

    def test_batches_hold_whole_inferences(self) -> None:
        latency = np.full(33, 300_000_000, dtype=np.int64)
        (window,) = split_windows(np.cumsum(latency) - latency[0], latency, 1)
        assert sum(count for _, _, count in window.batches) == 33
        assert all((end - start) == count * 300_000_000 for start, end, count in window.batches)

    def test_few_inferences_give_few_windows(self) -> None:
        start, latency = np.array([0, 10]), np.array([10, 10])
        assert len(split_windows(start, latency, 5)) == 2
        assert split_windows(start[:0], latency[:0], 5) == ()

    def test_batch_energy_is_per_inference(self) -> None:
        t = np.linspace(-1.0, 11.0, 1201)
        window = Window(Span(0, 10_000_000_000), 33)
        assert batch_energies(series_of(t, np.full(1201, 3.3)), window) == pytest.approx(1.0)

    @pytest.mark.parametrize(("start_ns", "end_ns"), [(1, 1), (2, 1)])
    def test_span_runs_forward(self, start_ns: int, end_ns: int) -> None:
        with pytest.raises(ValueError, match="ends after it starts"):
            Span(start_ns, end_ns)

    def test_window_rule(self) -> None:
        assert POLICY.window_s(0.001) == 10.0
        assert POLICY.window_s(0.001, latency_s=3.0) == 30.0
        assert POLICY.window_s(0.035) == pytest.approx(35.0)


class TestDistinct:
    """Conversions are counted, not reads."""

    def test_repeated_reads_of_one_result_count_once(self) -> None:
        t = np.arange(1000) * 1e-3
        power = np.repeat(np.arange(100.0), 10)
        assert count_distinct(series_of(t, power), slice(0, 1000), cycle_s=0.010) == 100

    def test_unchanged_value_counts_again_after_a_cycle(self) -> None:
        t = np.arange(1000) * 1e-3
        assert count_distinct(series_of(t, np.ones(1000)), slice(0, 1000), cycle_s=0.010) == pytest.approx(100, abs=1)

    def test_slow_reads_are_all_new(self) -> None:
        t = np.arange(100) * 0.010
        assert count_distinct(series_of(t, np.ones(100)), slice(0, 100), cycle_s=0.001) == 100


def test_idle_line_is_straight_between_the_windows() -> None:
    """2 W at 0 s, 3 W at 10 s: 12.5 J over 2.5 s to 7.5 s."""
    assert IdleLine(0.0, 2.0, 10.0, 3.0).energy_j(2.5, 7.5) == pytest.approx(12.5)


@pytest.mark.parametrize("kind", ["ina219", "ina226", "ina228", "ina260", "ina3221"])
def test_constant_power_is_exact_to_one_lsb(kind: str, make_bench: MakeBench) -> None:
    shunt = {"ina219": 0.1, "ina226": 0.01, "ina228": 0.015, "ina260": 0.002, "ina3221": 0.05}[kind]
    bench = make_bench(Constant(2.345), kind=kind, shunt=type(make_bench().setup.shunt)(shunt))
    take = bench.take()
    limits = take.recording.traits.limits
    lsb_w = 5.0 * limits.lsb_a + 4.345 / 5.0 * limits.lsb_v
    summary = summarize_energy([take], POLICY)
    assert summary.mean_power_w == pytest.approx(4.345, abs=lsb_w)
    assert summary.value_mj == pytest.approx(bench.true_j * 1e3, abs=lsb_w * 25)


def test_net_energy_of_an_idle_board_is_zero_within_its_uncertainty(make_bench: MakeBench) -> None:
    take = make_bench(Constant(0.0), idle=Square(1.9, 2.1, 0.013)).take()
    summary = summarize_energy([take], POLICY)
    assert abs(summary.net_mj or 0.0) <= summary.detail["net_expanded_uncertainty_mj"]


def test_gross_and_net_of_a_pulse_train(make_bench: MakeBench) -> None:
    """2 W idle; 4 W for 60 % and 1 W for 40 % on top: 4.8 W gross = 120 mJ, 2.8 W net = 70 mJ per 25 ms."""
    summary = summarize_energy([make_bench().take()], POLICY)
    assert summary.reason is None
    assert summary.value_mj == pytest.approx(120.0, rel=1e-3)
    assert summary.net_mj == pytest.approx(70.0, rel=2e-3)
    assert summary.idle_power_w == pytest.approx(2.0, rel=1e-3)
    assert summary.scope == "board_5v_input"
    assert summary.sensor is not None
    assert summary.sensor["provenance"] == "measured"


def test_energy_counter_is_read_by_difference(make_bench: MakeBench) -> None:
    bench = make_bench(kind="ina228", shunt=type(make_bench().setup.shunt)(0.015))
    summary = summarize_energy([bench.take()], POLICY)
    assert summary.value_mj == pytest.approx(bench.true_j * 1e3, rel=3e-4)
    assert summary.detail["budget_mj"]["aliasing"] == 0.0


def test_several_takes_are_one_estimate(make_bench: MakeBench) -> None:
    takes = [make_bench(n_windows=1).take() for _ in range(5)]
    estimate = estimate_energy(takes, [power_series(take.recording) for take in takes])
    assert len(estimate.counts) == 5
    assert estimate.gross_per_inference_j == pytest.approx(0.120, rel=1e-3)


def test_stated_intervals_cover_the_truth() -> None:
    """150 random boards; the full bench runs 1,000 (tests/benchmarks/bench_energy.py)."""
    trials = [run_trial(np.random.default_rng([2026, number])) for number in range(150)]
    figures = summarize_trials([trial for trial in trials if trial.summary.value_mj is not None])
    assert figures["n_trials"] >= 140
    assert figures["energy_coverage"] >= 0.935
    assert figures["energy_coverage_of_windows"] >= 0.935
    assert figures["energy_half_width_ratio"] <= 1.5


def test_ten_seconds_of_ina226_at_1_khz_have_no_bias() -> None:
    assert abs(bias_10s(10, np.random.default_rng(3))["energy_bias_10s"]) <= 0.001
