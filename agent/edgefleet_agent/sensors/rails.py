"""Voltage and current of supply rails as two sysfs files each: what hwmon and the Jetsons' drivers have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefleet_agent.sensors.power_sensor import Reading, SensorTraits
from edgefleet_agent.sensors.sysfs import SysfsNumber


@dataclass(frozen=True)
class Rail:
    """A rail's label and files: millivolts and milliamperes."""

    label: str
    voltage_path: Path
    current_path: Path


class RailSensor:
    """The sum of rails. ``current_scale`` corrects a shunt value that the kernel was told wrongly."""

    def __init__(self, rails: Sequence[Rail], traits: SensorTraits, *, current_scale: float = 1.0) -> None:
        self.traits = traits
        self._current_scale = current_scale
        self._files = [(SysfsNumber(rail.voltage_path), SysfsNumber(rail.current_path)) for rail in rails]

    def configure(self) -> None:
        """Change nothing: the kernel's settings are raised only with a person's consent."""

    def read(self) -> Reading:
        """Return the sum; the voltage is the first rail's. The kernel cannot tell whether a value is new."""
        power_w = current_a = 0.0
        voltages_v = []
        for voltage_file, current_file in self._files:
            voltage_v = voltage_file.read() * 1e-3
            rail_a = current_file.read() * 1e-3 * self._current_scale
            power_w += voltage_v * rail_a
            current_a += rail_a
            voltages_v.append(voltage_v)
        return Reading(power_w, voltages_v[0], current_a)

    def verify(self) -> None:
        """Check nothing: the kernel re-initialises a chip that was reset (ina2xx.c reads CAL back)."""

    def close(self) -> None:
        """Close the files."""
        for pair in self._files:
            for file in pair:
                file.close()
