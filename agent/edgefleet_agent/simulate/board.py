"""A simulated board: time, heat and power of what it is told to run."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.sampler import SamplerSettings
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.virtual_sampler import VirtualSampler
from edgefleet_agent.sensors.fake.waveforms import Burst, Bursts, Constant
from edgefleet_agent.sensors.opening import make_ina
from edgefleet_agent.sensors.recording import Recording
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.simulate.parameters import Board, Noise
from edgefleet_agent.simulate.thermal import Heat
from edgefleet_agent.wire.report import Conditions

BOOT_NS = 1_000_000_000
STEP_S = 0.5
"""Heat and clock are looked at this often while the board computes."""

THROTTLED_NOW, THROTTLED_EVER = 1 << 2, 1 << 18
"""Bits of get_throttled (Raspberry Pi documentation, vcgencmd)."""


class Window(NamedTuple):
    """When a series ends: after ``seconds`` with ``min_samples``, or after ``max_seconds`` anyway, as in the runner."""

    seconds: float
    min_samples: int
    max_seconds: float


class Series(NamedTuple):
    """Start and length of each inference in ns of the board's clock. Shapes (n,)."""

    start_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]


@dataclass
class _Burst:
    """A time of equal power above idle."""

    start_ns: int
    end_ns: int
    extra_w: float


class SimulatedBoard:
    """One board with a clock of its own that only its work and its waits move. Equal seeds give equal boards."""

    def __init__(self, board: Board, noise: Noise, rng: np.random.Generator, *, is_cooled: bool = True) -> None:
        self.parameters, self._noise, self._rng = board, noise, rng
        self.clock = VirtualClock(BOOT_NS)
        self._heat = Heat(board, is_cooled=is_cooled)
        self._heat_ns = self._epoch_ns = BOOT_NS
        self._bursts: list[_Burst] = []
        self.sensor_spec = _sensor_spec(board)
        self._sensor_errors = _draw_sensor_errors(self.sensor_spec, rng)

    def rest(self, seconds: float) -> None:
        """Idle for a while, and forget the power history of what ran before."""
        self.clock.advance_ns(round(seconds * 1e9))
        self._follow_idle()
        self._epoch_ns, self._bursts = self.clock.now_ns(), []

    def infer(self, latency_ms: float, window: Window, *, is_warm: bool = True) -> Series:
        """Run inferences of this undisturbed latency back to back."""
        self._follow_idle()
        latencies: list[NDArray[np.int64]] = []
        count, elapsed_ns, start_ns = 0, 0, self.clock.now_ns()
        while True:
            part = self._draw(latency_ms / self._heat.speed, 0 if not is_warm else None, count)
            ends_ns = elapsed_ns + np.cumsum(part)
            is_last = (ends_ns >= window.seconds * 1e9) & (np.arange(len(part)) + count + 1 >= window.min_samples)
            is_last |= ends_ns >= window.max_seconds * 1e9
            part = part[: int(np.argmax(is_last)) + 1] if is_last.any() else part
            latencies.append(part)
            count, elapsed_ns = count + len(part), elapsed_ns + int(part.sum())
            self._compute(int(part.sum()))
            if is_last.any():
                break
        latency_ns = np.concatenate(latencies)
        return Series(start_ns + np.cumsum(latency_ns) - latency_ns, latency_ns)

    def conditions(self) -> Conditions:
        """What the board's files would say now."""
        self._follow_idle()
        heat, bits = self._heat, None
        if self.parameters.has_throttled_bits:
            bits = THROTTLED_NOW * heat.is_throttled | THROTTLED_EVER * heat.was_throttled
        return Conditions(
            governors=["simulated"],
            frequencies_khz=[round(self.parameters.frequency_khz.value * heat.speed)],
            temperatures_c={"soc": round(heat.temperature_c, 1)},
            throttled_bits=bits,
            monotonic_ns=self.clock.now_ns(),
        )

    def start_sampler(self, spec: SensorSpec, settings: SamplerSettings) -> "_HistorySampler":
        """A sampler of this board's power sensor (measure.energy_meter.StartSampler)."""
        return _HistorySampler(self, spec, settings)

    def with_history(self, spec: SensorSpec) -> SensorSpec:
        """The fake sensor, fed with what the board drew since ``rest``."""
        idle_w = self.parameters.power.idle_w.value
        bursts = tuple(
            Burst((one.start_ns - self._epoch_ns) * 1e-9, (one.end_ns - self._epoch_ns) * 1e-9, Constant(one.extra_w))
            for one in self._bursts
        )
        voltage_v = self.parameters.sensor.voltage_v.value
        options = fake_options(
            Bursts(Constant(idle_w), bursts), epoch_ns=self._epoch_ns, voltage_v=voltage_v, **self._sensor_errors
        )
        return replace(spec, fake=options)

    def _draw(self, latency_ms: float, cold_from: "int | None", count: int) -> NDArray[np.int64]:
        """The next latencies in ns: lognormal jitter, a heavy tail, and an excess that fades while warming up."""
        noise, n = self._noise, max(int(STEP_S * 1e3 / latency_ms), 1)
        factors = self._rng.lognormal(0.0, noise.jitter_sigma.value, n)
        in_tail = self._rng.random(n) < noise.tail_share.value
        factors[in_tail] *= self._rng.uniform(noise.tail_low.value, noise.tail_high.value, int(in_tail.sum()))
        if cold_from is not None:
            age = (count + np.arange(n)) / noise.warmup_inferences.value
            factors *= 1 + (noise.warmup_factor.value - 1) * np.exp(-age)
        return np.maximum(np.round(latency_ms * 1e6 * factors), 1).astype(np.int64)

    def _compute(self, duration_ns: int) -> None:
        """Let the board compute for a while: its power, its heat, its clock."""
        power, start_ns = self.parameters.power, self.clock.now_ns()
        extra_w = (power.busy_w.value - power.idle_w.value) * self._heat.speed
        self.clock.advance_ns(duration_ns)
        last = self._bursts[-1] if self._bursts else None
        if last is not None and last.end_ns == start_ns and last.extra_w == extra_w:
            last.end_ns += duration_ns
        else:
            self._bursts.append(_Burst(start_ns, start_ns + duration_ns, extra_w))
        self._heat.pass_time(power.idle_w.value + extra_w, duration_ns * 1e-9)
        self._heat_ns = self.clock.now_ns()

    def _follow_idle(self) -> None:
        """Bring the heat up to now; the time since the last look was idle."""
        now_ns = self.clock.now_ns()
        self._heat.pass_time(self.parameters.power.idle_w.value, (now_ns - self._heat_ns) * 1e-9)
        self._heat_ns = now_ns


class _HistorySampler:
    """Samples when it is stopped: only then is it known what the board drew. Driver and loop are the real ones."""

    def __init__(self, board: SimulatedBoard, spec: SensorSpec, settings: SamplerSettings) -> None:
        self._board, self._spec, self._settings = board, spec, settings
        self._start_ns = board.clock.now_ns()

    def stop(self) -> Recording:
        """Return what was sampled from the start until the board's present time."""
        clock = VirtualClock(self._start_ns)
        sampler = VirtualSampler(self._board.with_history(self._spec), self._settings, clock)
        clock.sleep_until_ns(self._board.clock.now_ns())
        try:
            return sampler.stop()
        finally:
            sampler.close()

    def close(self) -> None:
        """Hold nothing."""


def _sensor_spec(board: Board) -> SensorSpec:
    sensor = board.sensor
    shunt = ShuntCalibration(sensor.shunt_ohm.value, sensor.shunt_limit.value)
    return SensorSpec(sensor.kind, scope=sensor.scope, shunt=shunt)


def _draw_sensor_errors(spec: SensorSpec, rng: np.random.Generator) -> "dict[str, object]":
    """This copy's hidden errors, anywhere inside the data sheet's limits and the shunt's."""
    facts = make_ina(spec, FakeBus({}, VirtualClock())).facts

    def inside(limit: float) -> float:
        return float(rng.uniform(-limit, limit))

    errors = {
        "shunt_gain": inside(facts.shunt_gain_limit),
        "shunt_offset_v": inside(facts.shunt_offset_limits_v[0]),
        "bus_gain": inside(facts.bus_gain_limit),
        "bus_offset_v": inside(facts.bus_offset_limit_v),
    }
    shunt_limit = spec.shunt.relative_limit if spec.shunt is not None else 0.0
    return {"errors": errors, "resistance_error": inside(shunt_limit)}
