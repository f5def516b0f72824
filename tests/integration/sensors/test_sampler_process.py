"""The real sampling process with a fake chip on a bus that really waits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.measure.energy_checks import EnergyPolicy
from edgefleet_agent.measure.energy_meter import SampledEnergyMeter
from edgefleet_agent.measure.meter import TimedPart
from edgefleet_agent.sampler import SamplerFailed, SamplerProcess, SamplerSettings
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.waveforms import Constant
from edgefleet_agent.sensors.power_sensor import VERIFIED
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec

SETTINGS = SamplerSettings(period_s=0.005, longest_s=60.0)

PARENT = """
import sys, time
from edgefleet_agent.sampler import SamplerProcess, SamplerSettings
from edgefleet_agent.sensors.spec import spec_from_json
sampler = SamplerProcess(spec_from_json(sys.argv[1]), SamplerSettings(period_s=0.005, longest_s=60.0))
print(sampler.pid, flush=True)
time.sleep(60)
"""


def spec(**options: Any) -> SensorSpec:
    fake = fake_options(Constant(4.0), epoch_ns=time.monotonic_ns(), transfer_ns=250_000, **options)
    return SensorSpec("ina226", shunt=ShuntCalibration(0.01), readiness="timed", fake=fake)


def test_process_samples_on_the_hosts_monotonic_clock() -> None:
    started_ns = time.monotonic_ns()
    with SamplerProcess(spec(), SETTINGS) as sampler:
        while time.monotonic_ns() < started_ns + 1_000_000_000:
            time.sleep(0.01)
        recording = sampler.stop()
    ended_ns = time.monotonic_ns()
    assert started_ns < recording.t_ns[0] < recording.t_ns[-1] < ended_ns
    assert np.nanmedian(recording.power_w) == pytest.approx(4.0, abs=0.01)
    assert recording.flags[-1] & VERIFIED
    assert recording.n_attempts > 1
    assert sampler.cpu_s is not None


def test_sensor_trouble_is_told_with_its_code() -> None:
    with pytest.raises(SamplerFailed, match="wiring") as caught:
        SamplerProcess(spec(missing=True), SETTINGS)
    assert caught.value.code == "sensor_missing"


def test_dead_sampler_is_noticed() -> None:
    with SamplerProcess(spec(), SETTINGS) as sampler:
        os.kill(sampler.pid, signal.SIGKILL)
        with pytest.raises(SamplerFailed, match="ended with status") as caught:
            sampler.stop()
    assert caught.value.code == "sampler_died"


def test_sampler_ends_with_its_parent(tmp_path: Path) -> None:
    """A killed parent leaves no orphan: its end of the pipe closes."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, spec().to_json()], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_alive(pid)


def test_meter_over_the_real_process() -> None:
    policy = EnergyPolicy(least_window_s=0.1, least_edges=20, least_cycles=10, idle_s=0.3, max_gap_periods=1e6)
    meter = SampledEnergyMeter(spec(), settings=SETTINGS, policy=policy)
    meter.begin()
    start_ns = time.monotonic_ns()
    time.sleep(1.0)
    elapsed_ns = time.monotonic_ns() - start_ns
    meter.end()
    n = 100
    part = TimedPart(
        start_ns + np.arange(n, dtype=np.int64) * (elapsed_ns // n), np.full(n, elapsed_ns // n, dtype=np.int64), 1
    )
    metered = [meter.collect(part)]
    summary = meter.summarize(metered)
    rejected = summary.detail.get("rejected") or {"mean_power_w": summary.mean_power_w}
    assert rejected["mean_power_w"] == pytest.approx(4.0, abs=0.01)
    assert "power" in meter.blobs(metered)


def _is_alive(pid: int) -> bool:
    try:
        state = Path("/proc/{}/stat".format(pid)).read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
