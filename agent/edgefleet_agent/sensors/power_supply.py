"""A battery gauge: /sys/class/power_supply. Says what the board draws only while the battery is discharged."""

from collections.abc import Sequence
from pathlib import Path

from edgefleet_agent.sensors.errors import SensorMissing, SensorUnusable
from edgefleet_agent.sensors.power_sensor import Reading, SensorTraits
from edgefleet_agent.sensors.sysfs import SysfsNumber, read_text

CYCLE_S = 1.0
"""Battery gauges update about once a second; not stated by the interface."""


def batteries(root: Path) -> Sequence[Path]:
    """Return the battery folders under ``root`` (normally /)."""
    folders = sorted(root.glob("sys/class/power_supply/*"))
    return [folder for folder in folders if (folder / "type").exists() and read_text(folder / "type") == "Battery"]


class Battery:
    """One battery; the sign of its current depends on the driver, so only its size counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if (folder / "power_now").exists():
            self._files, self._scale = [SysfsNumber(folder / "power_now")], 1e-6
        elif (folder / "current_now").exists():
            names = ("voltage_now", "current_now")
            self._files, self._scale = [SysfsNumber(folder / name) for name in names], 1e-12
        else:
            raise SensorMissing("the gauge tells neither power nor current", sensor=str(folder))
        self.traits = SensorTraits(
            chip="battery",
            scope="battery",
            cycle_s=CYCLE_S,
            averaging_s=0.0,
            lag_s=0.0,
            limits=None,
            detail={"path": str(folder)},
        )

    def configure(self) -> None:
        """Raise ``SensorUnusable`` unless the battery is being discharged."""
        self.verify()

    def read(self) -> Reading:
        """Return the battery's power."""
        product = 1
        for file in self._files:
            product *= abs(file.read())
        return Reading(product * self._scale)

    def verify(self) -> None:
        """Raise ``SensorUnusable`` unless the battery is being discharged."""
        status = read_text(self._folder / "status")
        if status != "Discharging":
            text = "the battery is {}; unplug the supply to measure on it".format(status.lower())
            raise SensorUnusable(text, sensor=str(self._folder))

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
