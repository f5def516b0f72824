"""The oracle: closed-form integrals against fine sums, and against each other."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.waveforms import (
    Burst,
    Bursts,
    Constant,
    Drift,
    Piecewise,
    Ramp,
    Sine,
    Square,
    Waveform,
    waveform_from_json,
    waveform_to_json,
)

WAVEFORMS: list[Waveform] = [
    Constant(2.5),
    Square(1.0, 6.0, 0.25, duty=0.3, phase_s=0.1),
    Ramp(3.0, -0.2),
    Sine(4.0, 1.5, 7.0, phase_rad=0.4),
    Drift(2.0, 3.0, 1.7),
    Piecewise((0.5, 1.0, 2.5), (1.0, 4.0, 2.0)),
    Bursts(Constant(2.0), (Burst(0.4, 1.1, Square(0.0, 3.0, 0.05)), Burst(1.5, 2.0, Constant(1.0)))),
]


@pytest.mark.parametrize("waveform", WAVEFORMS, ids=lambda one: type(one).__name__)
def test_integral_equals_a_fine_sum(waveform: Waveform) -> None:
    n = 200_001
    t = np.linspace(0.137, 2.861, n)
    middle = (t[1:] + t[:-1]) / 2
    total = float(np.sum(waveform.power_w(middle)) * (t[1] - t[0]))
    assert float(waveform.energy_j(np.array(t[0]), np.array(t[-1]))) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("waveform", WAVEFORMS, ids=lambda one: type(one).__name__)
@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 4.0), min_size=3, max_size=3))
def test_integrals_add_up(waveform: Waveform, edges: list[float]) -> None:
    a, b, c = (np.array(edge) for edge in sorted(edges))
    whole = float(waveform.energy_j(a, c))
    assert whole == pytest.approx(float(waveform.energy_j(a, b) + waveform.energy_j(b, c)), abs=1e-9)


def test_square_over_whole_periods_is_its_mean() -> None:
    """6 W for 60 %, 3 W for 40 %: 4.8 W."""
    assert float(Square(3.0, 6.0, 0.025, duty=0.6).energy_j(0.0, 1.0)) == pytest.approx(4.8)


def test_drift_over_a_long_time_is_its_end_level() -> None:
    """2 W + (-1 W) * tau = 2 * 100 - 1 * 1.0 for tau = 1 s."""
    assert float(Drift(1.0, 2.0, 1.0).energy_j(0.0, 100.0)) == pytest.approx(199.0)


@pytest.mark.parametrize("waveform", WAVEFORMS, ids=lambda one: type(one).__name__)
def test_waveforms_survive_json(waveform: Waveform) -> None:
    assert waveform_from_json(json.loads(json.dumps(waveform_to_json(waveform)))) == waveform


def test_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown waveform 'spiral'"):
        waveform_from_json({"shape": "spiral"})


def test_trace_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="in order of time"):
        Piecewise((1.0, 0.5), (1.0, 1.0))


def test_virtual_clock_never_runs_back() -> None:
    clock = VirtualClock(100)
    clock.sleep_until_ns(50)
    assert clock.now_ns() == 100
    with pytest.raises(ValueError, match="does not run backwards"):
        clock.advance_ns(-1)
