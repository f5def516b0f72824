"""A published measurement replayed through sampler, integration and division by inferences."""

from pathlib import Path

import pytest

from edgefleet_agent.measure.energy import Span, energy_between, power_series
from edgefleet_agent.sampler import SamplerSettings
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.virtual_sampler import VirtualSampler
from edgefleet_agent.sensors.replay import parse_ptdaemon_log
from edgefleet_agent.sensors.spec import SensorSpec

LOG = Path(__file__).parents[3] / "data/mlperf_v1.1_xaviernx_power_spl.txt"
MEAN_LATENCY_S = 3.078e-3
"""Mean latency of the same run in its LoadGen summary."""


def test_middle_of_the_log_has_the_published_mean() -> None:
    """10.62 W over the middle 80 % of 636 rows."""
    trace = parse_ptdaemon_log(LOG.read_text(), source=LOG.name)
    tenth = len(trace.power_w) // 10
    middle = trace.power_w[tenth : len(trace.power_w) - tenth]
    assert len(trace.power_w) == 636
    assert sum(middle) / len(middle) == pytest.approx(10.62, abs=0.005)


def test_replayed_run_costs_32_7_mj_per_inference() -> None:
    clock = VirtualClock()
    sampler = VirtualSampler(
        SensorSpec("replay", path=str(LOG)), SamplerSettings(period_s=0.25, longest_s=700.0), clock
    )
    clock.advance_ns(634_000_000_000)
    recording = sampler.stop()
    assert recording.traits.provenance == "replayed"
    assert recording.traits.scope == "wall_ac"
    assert recording.period_s == 1.0  # the log's own rate, however fast one asks
    window = Span(63_500_000_000, 571_500_000_000)
    energy_j = float(energy_between(power_series(recording), [window])[0])
    assert energy_j / window.duration_s == pytest.approx(10.62, abs=0.02)
    assert energy_j / (window.duration_s / MEAN_LATENCY_S) == pytest.approx(32.7e-3, abs=0.1e-3)
