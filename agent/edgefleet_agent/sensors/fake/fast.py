"""Recordings of a fake chip computed for all reads at once, for statistics over thousands of hours.

Gives what ``recording.record`` gives with a bus that takes no time (a test compares them), a thousand times faster.
"""

from typing import Any, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.sensors import ina
from edgefleet_agent.sensors.fake.chips import FakeIna228
from edgefleet_agent.sensors.fake.fake_ina import FakeIna
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness
from edgefleet_agent.sensors.power_sensor import FRESH, SATURATED, VERIFIED
from edgefleet_agent.sensors.recording import Recording


class _Decoded(NamedTuple):
    current_a: Any
    voltage_v: Any


def record_fast(
    sensor: InaChip,
    chip: FakeIna,
    *,
    start_ns: int,
    period_s: float,
    duration_s: float,
    jitter_s: float = 0.0,
    rng: Optional[np.random.Generator] = None,
) -> Recording:
    """Return what sampling the configured sensor would record. ``jitter_s``: exponential lateness of each read."""
    n = int(duration_s / period_s) + 1
    late_s = rng.exponential(jitter_s, n) if rng is not None and jitter_s > 0 else np.zeros(n)
    t_ns = np.sort(start_ns + np.round((np.arange(n) * period_s + late_s) * 1e9).astype(np.int64))
    cycles = chip.cycles_done(t_ns)
    is_new = np.diff(cycles, prepend=0) > 0
    has_flag = sensor.readiness is Readiness.FLAG
    keep = is_new if has_flag else cycles > 0
    t_ns, cycles = t_ns[keep], cycles[keep]
    unique, where = np.unique(cycles, return_inverse=True)
    power_w, current_a, voltage_v, saturated = _decode_channels(sensor, chip, unique)
    flags = np.where(saturated[where], SATURATED, 0) | (FRESH if has_flag else 0)
    energy_j = _energy(sensor, chip, unique)[where]
    return Recording(
        traits=sensor.traits,
        period_s=period_s,
        t_ns=np.append(t_ns, t_ns[-1]),
        flags=np.append(flags, VERIFIED).astype(np.int64),
        power_w=np.append(power_w[where], np.nan),
        voltage_v=np.append(voltage_v[where], np.nan),
        current_a=np.append(current_a[where], np.nan),
        energy_j=np.append(energy_j, np.nan),
        n_attempts=n,
        n_stale=n - len(t_ns) if has_flag else 0,
    )


def _decode_channels(sensor: InaChip, chip: FakeIna, cycles: NDArray[np.int64]) -> tuple[Any, Any, Any, Any]:
    codes = chip.codes_of_cycles(cycles)
    power_w, current_a = np.zeros(len(cycles)), np.zeros(len(cycles))
    saturated = np.zeros(len(cycles), dtype=bool)
    voltages = []
    for channel in sensor.wiring.channels:
        shunt, bus = codes.shunt[channel], codes.bus[channel]
        decoded = _decode(sensor, shunt, bus)
        power_w += decoded.voltage_v * decoded.current_a
        current_a += decoded.current_a
        voltages.append(decoded.voltage_v)
        lowest, highest = chip.shunt_code(-1e3), chip.shunt_code(1e3)
        saturated |= (shunt <= lowest) | (shunt >= highest)
    return power_w, current_a, voltages[0], saturated


def _decode(sensor: InaChip, shunt: Any, bus: Any) -> _Decoded:
    """Turn ADC codes into the register's layout and decode that with the driver's maths."""
    kind, ohm = sensor.facts.name, sensor.wiring.shunt_ohm if sensor.wiring.shunt else 2e-3
    if kind == "ina219":
        return _Decoded(ina.ina219_shunt_v(shunt & 0xFFFF) / ohm, ina.ina219_bus_v(bus << 3))
    if kind == "ina226":
        return _Decoded(ina.ina226_shunt_v(shunt & 0xFFFF) / ohm, ina.ina226_bus_v(bus))
    if kind == "ina260":
        return _Decoded(ina.ina260_current_a(shunt & 0xFFFF), ina.ina226_bus_v(bus))
    if kind == "ina3221":
        return _Decoded(ina.ina3221_shunt_v(shunt << 3 & 0xFFFF) / ohm, ina.ina3221_bus_v(bus << 3 & 0xFFFF))
    return _Decoded(ina.ina228_shunt_v(shunt << 4 & 0xFFFFFF) / ohm, ina.ina228_bus_v(bus << 4))


def _energy(sensor: InaChip, chip: FakeIna, cycles: NDArray[np.int64]) -> Any:
    if not isinstance(chip, FakeIna228):
        return np.full(len(cycles), np.nan)
    until_s = (chip.started_ns - chip.epoch_ns + cycles * chip.cycle_ns) * 1e-9
    return ina.ina228_energy_j(chip.energy_code(until_s), sensor.wiring.shunt_ohm)
