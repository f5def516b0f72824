"""Takes with a known load, recorded through a real driver from a fake chip."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.measure.energy import Span, Take, Window
from edgefleet_agent.measure.energy_trials import IDLE_S, LEAD_S, Setup, build
from edgefleet_agent.sensors.fake.fake_ina import ChipErrors
from edgefleet_agent.sensors.fake.fast import record_fast
from edgefleet_agent.sensors.fake.waveforms import Burst, Bursts, Constant, Square, Waveform
from edgefleet_agent.sensors.shunt import ShuntCalibration

LATENCY_S = 0.025
SETUP = Setup("ina226", ShuntCalibration(0.01), 5.0, 0.005, "flag", ChipErrors(), 0.0, 0.0)


class Bench:
    """A board that idles, runs ``n_windows`` windows, and idles again; times in seconds from zero."""

    def __init__(
        self,
        load: Waveform | None = None,
        idle: Waveform | None = None,
        *,
        window_s: float = 10.0,
        n_windows: int = 5,
        latency_s: float = LATENCY_S,
        **setup: Any,
    ) -> None:
        self.load = load or Square(1.0, 4.0, latency_s, duty=0.6)
        self.count = round(window_s / latency_s)
        start_s = LEAD_S + IDLE_S
        self.edges_s = [start_s + n * self.count * latency_s for n in range(n_windows + 1)]
        self.waveform = Bursts(idle or Constant(2.0), (Burst(start_s, self.edges_s[-1], self.load),))
        self.setup = replace(SETUP, **setup)

    @property
    def true_j(self) -> float:
        """Exact energy per inference."""
        a, b = np.array(self.edges_s[0]), np.array(self.edges_s[-1])
        return float(self.waveform.energy_j(a, b)) / (self.count * (len(self.edges_s) - 1))

    def take(self, peak_w: float = 8.0) -> Take:
        """Record it."""
        sensor, chip = build(self.setup, self.waveform, peak_w)
        end_s = self.edges_s[-1]
        duration_s = end_s + IDLE_S + LEAD_S
        recording = record_fast(sensor, chip, start_ns=0, period_s=self.setup.period_s, duration_s=duration_s)
        windows = tuple(
            Window(span(a, b), self.count) for a, b in zip(self.edges_s[:-1], self.edges_s[1:], strict=True)
        )
        return Take(recording, span(LEAD_S, LEAD_S + IDLE_S - 0.05), span(end_s + 0.05, end_s + IDLE_S), windows)


def span(start_s: float, end_s: float) -> Span:
    return Span(round(start_s * 1e9), round(end_s * 1e9))


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    return Bench
