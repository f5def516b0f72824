"""What the sampler recorded, as arrays."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.power_sensor import PowerLimits, PowerSensor, SensorTraits
from edgefleet_agent.sensors.ring import SampleRing, ring_bytes
from edgefleet_agent.sensors.sampling import sample


@dataclass(frozen=True)
class Recording:
    """Rows in order of time, and how the sampling went.

    ``t_ns``: CLOCK_MONOTONIC in the middle of each transaction. ``flags``: see power_sensor. ``energy_j``: the
    sensor's own counter, NaN where it has none. ``n_skipped``: deadlines that passed unused.
    """

    traits: SensorTraits
    period_s: float
    t_ns: NDArray[np.int64]
    flags: NDArray[np.int64]
    power_w: NDArray[np.float64]
    voltage_v: NDArray[np.float64]
    current_a: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    n_attempts: int
    n_skipped: int = 0
    n_stale: int = 0
    n_overwritten: int = 0
    suspended_ns: int = 0

    def __post_init__(self) -> None:
        """Check that the columns have one length."""
        if len({len(column) for column in (self.t_ns, self.flags, self.power_w, self.energy_j)}) != 1:
            raise ValueError("the columns of a recording have one length")
        if self.period_s <= 0:
            raise ValueError("the read period is positive, not {} s".format(self.period_s))

    @property
    def achieved_ratio(self) -> float:
        """Reads made / reads asked for."""
        wanted = self.n_attempts + self.n_skipped
        return self.n_attempts / wanted if wanted else 0.0


def recording_from_ring(ring: SampleRing, traits: SensorTraits, period_s: float) -> Recording:
    """Return a copy of the ring's rows in order of time."""
    counters = ring.counters
    n_written, capacity = counters["n_written"], ring.capacity
    first = n_written % capacity if n_written > capacity else 0
    n_rows = min(n_written, capacity)
    columns = {name: np.roll(np.array(view)[:n_rows], -first) for name, view in ring.columns().items()}
    return Recording(
        traits=traits,
        period_s=period_s,
        n_attempts=counters["n_attempts"],
        n_skipped=counters["n_skipped"],
        n_stale=counters["n_stale"],
        n_overwritten=max(n_written - capacity, 0),
        suspended_ns=counters["suspended_ns"],
        **columns,
    )


def record(sensor: PowerSensor, clock: Clock, *, period_s: float, duration_s: float) -> Recording:
    """Configure and sample a sensor in this process for a time of the given clock: for simulated boards and tests.

    Never use it beside an inference on real hardware; that is what the sampling process is for.
    """
    period_ns, end_ns = round(period_s * 1e9), clock.now_ns() + round(duration_s * 1e9)
    capacity = int(duration_s / period_s) + int(duration_s) + 16
    ring = SampleRing(bytearray(ring_bytes(capacity)), capacity)
    sensor.configure()
    sample(sensor, ring, clock, period_ns=period_ns, should_stop=lambda: clock.now_ns() >= end_ns)
    return recording_from_ring(ring, sensor.traits, period_s)


def traits_to_json(traits: SensorTraits) -> dict[str, Any]:
    """Return the traits as a JSON object."""
    return asdict(traits)


def traits_from_json(document: Mapping[str, Any]) -> SensorTraits:
    """Return the traits of ``traits_to_json``."""
    fields = dict(document)
    limits = fields.pop("limits", None)
    return SensorTraits(**fields, limits=PowerLimits(**limits) if limits else None)
