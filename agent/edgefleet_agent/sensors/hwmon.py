"""Power monitors behind a kernel driver (hwmon): ina2xx, ina3221, ina238."""

from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from edgefleet_agent.sensors import ina_facts
from edgefleet_agent.sensors.errors import SensorError, SensorMissing
from edgefleet_agent.sensors.power_sensor import PowerLimits, Scalar, SensorTraits
from edgefleet_agent.sensors.rails import Rail, RailSensor
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.sysfs import read_number, read_text

HWMON_CHIPS = {
    "ina219": ina_facts.INA219,
    "ina226": ina_facts.INA226,
    "ina230": ina_facts.INA226,
    "ina231": ina_facts.INA226,
}
HWMON_CHIPS["ina3221"] = ina_facts.INA3221
"""Name in hwmon -> what the data sheet says of it."""

DEFAULT_INTERVAL_S = 0.035
"""The kernel's ina2xx default: 16 averages of 2.2 ms (drivers/hwmon/ina2xx.c)."""

KERNEL_LSB_A = 1e-3
KERNEL_LSB_V = 1e-3
"""hwmon files count milliamperes and millivolts (Documentation/hwmon/sysfs-interface.rst)."""


def hwmon_folders(root: Path) -> Iterator[Path]:
    """Yield the hwmon folders under ``root`` (normally /) in order."""
    yield from sorted(root.glob("sys/class/hwmon/hwmon*"))


def hwmon_name(folder: Path) -> Optional[str]:
    """Return the chip's name, or ``None`` where the driver gives none."""
    try:
        return read_text(folder / "name")
    except SensorMissing:
        return None


def open_hwmon(
    folder: Path, *, scope: str, channels: tuple[int, ...] = (1,), shunt: Optional[ShuntCalibration] = None
) -> RailSensor:
    """Return the sensor of a hwmon folder; raises a coded ``SensorError``.

    ``shunt`` corrects the current if the kernel was given another resistance, and states its uncertainty.
    """
    name = read_text(folder / "name")
    rails = [
        Rail("channel{}".format(c), folder / "in{}_input".format(c), folder / "curr{}_input".format(c))
        for c in channels
    ]
    kernel_ohm = _kernel_shunt_ohm(folder, channels[0])
    scale = kernel_ohm / shunt.resistance_ohm if shunt and kernel_ohm else 1.0
    true_ohm = shunt.resistance_ohm if shunt else kernel_ohm
    interval_s = _interval_s(folder)
    detail: dict[str, Scalar] = {
        "path": str(folder),
        "channels": ",".join(str(channel) for channel in channels),
        "shunt_ohm": true_ohm,
        "kernel_shunt_ohm": kernel_ohm,
        "shunt_limit": shunt.relative_limit if shunt else None,
        "update_interval_s": interval_s,
    }
    traits = SensorTraits(
        chip=name,
        scope=scope,
        cycle_s=interval_s,
        averaging_s=interval_s / 2,  # the kernel gives shunt and bus the same time
        lag_s=interval_s / 2,
        limits=kernel_limits(name, true_ohm, shunt, len(channels)),
        detail=detail,
    )
    return RailSensor(rails, traits, current_scale=scale)


def kernel_limits(
    name: str, shunt_ohm: Optional[float], shunt: Optional[ShuntCalibration], n_channels: int
) -> Optional[PowerLimits]:
    """Return the limits of a chip read through hwmon, or ``None`` where chip or shunt are not known well enough."""
    facts = HWMON_CHIPS.get(name)
    if facts is None or shunt_ohm is None or shunt is None:
        return None
    return PowerLimits(
        gains={
            "shunt_voltage": facts.shunt_gain_limit,
            "resistance": shunt.relative_limit,
            "voltage": facts.bus_gain_limit,
        },
        offset_a=n_channels * facts.shunt_offset_limits_v[-1] / shunt_ohm,
        lsb_a=n_channels**0.5 * max(facts.shunt_lsb_v / shunt_ohm, KERNEL_LSB_A),
        offset_v=facts.bus_offset_limit_v,
        lsb_v=max(facts.bus_lsb_v, KERNEL_LSB_V),
    )


def _interval_s(folder: Path) -> float:
    try:
        milliseconds = read_number(folder / "update_interval")
    except SensorMissing:
        return DEFAULT_INTERVAL_S
    return max(milliseconds, 1) * 1e-3


def _kernel_shunt_ohm(folder: Path, channel: int) -> Optional[float]:
    for file_name in ("shunt{}_resistor".format(channel), "shunt_resistor"):
        try:
            micro_ohm = read_number(folder / file_name)
        except SensorError:
            continue
        return micro_ohm * 1e-6 or None
    return None
