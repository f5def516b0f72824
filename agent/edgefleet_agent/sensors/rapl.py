"""The energy counters of the CPU packages (RAPL): /sys/class/powercap/intel-rapl:N/energy_uj."""

import math
from collections.abc import Sequence
from pathlib import Path

from edgefleet_agent.sensors.errors import SensorMissing
from edgefleet_agent.sensors.power_sensor import Reading, SensorTraits
from edgefleet_agent.sensors.sysfs import SysfsNumber, read_number, read_text

UPDATE_S = 1e-3
"""The counter moves about once a millisecond (Intel SDM volume 3, 15.10)."""


def rapl_packages(root: Path) -> Sequence[Path]:
    """Return the package zones under ``root`` (normally /); sub-zones are contained in them and left out."""
    zones = sorted(root.glob("sys/class/powercap/intel-rapl:*"))
    packages = [zone for zone in zones if zone.name.count(":") == 1 and (zone / "energy_uj").exists()]
    return [zone for zone in packages if read_text(zone / "name").startswith("package")]


class _Counter:
    """One zone, unwrapped."""

    def __init__(self, zone: Path) -> None:
        self._range_uj = read_number(zone / "max_energy_range_uj")
        self._file = SysfsNumber(zone / "energy_uj")
        self._last_uj = self._file.read()
        self._total_uj = 0

    def read_j(self) -> float:
        """Return the energy since opening; right as long as it is called once per wrap (minutes at full load)."""
        now_uj = self._file.read()
        step_uj = now_uj - self._last_uj
        self._total_uj += step_uj if step_uj >= 0 else step_uj + self._range_uj
        self._last_uj = now_uj
        return self._total_uj * 1e-6

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Rapl:
    """Sum of all CPU packages; scope ``cpu_package``. Root only since CVE-2020-8694."""

    def __init__(self, root: Path) -> None:
        zones = rapl_packages(root)
        if not zones:
            raise SensorMissing("no RAPL package under {}sys/class/powercap".format(root), sensor="rapl")
        self._counters = [_Counter(zone) for zone in zones]
        self.traits = SensorTraits(
            chip="rapl",
            scope="cpu_package",
            cycle_s=UPDATE_S,
            averaging_s=UPDATE_S,
            lag_s=0.0,
            limits=None,  # Intel states no accuracy
            counts_energy=True,
            detail={"zones": ",".join(zone.name for zone in zones)},
        )

    def configure(self) -> None:
        """Change nothing; RAPL has no settings."""

    def read(self) -> Reading:
        """Return the energy counted so far; power follows from differences."""
        return Reading(math.nan, energy_j=sum(counter.read_j() for counter in self._counters))

    def verify(self) -> None:
        """Check nothing: there are no settings to lose."""

    def close(self) -> None:
        """Close the files."""
        for counter in self._counters:
            counter.close()
