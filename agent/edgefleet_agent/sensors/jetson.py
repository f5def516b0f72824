"""The on-board INA3221 of NVIDIA Jetson modules, from the kernel's interface (JetPack <= 4: IIO, >= 5: hwmon)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefleet_agent.sensors.errors import SensorMissing
from edgefleet_agent.sensors.power_sensor import Scalar, SensorTraits
from edgefleet_agent.sensors.rails import Rail, RailSensor
from edgefleet_agent.sensors.sysfs import read_number, read_text

TOTAL_RAILS = ("POM_5V_IN", "VDD_IN")
"""Rails that feed all others (Nano and TX2: POM_5V_IN; Orin and Xavier NX: VDD_IN). Nothing is ever added to them:
https://github.com/rbonghi/jetson_stats/issues/51."""

UNUSED_LABEL = "NC"
SUM_CHANNEL = 7
"""hwmon channel "sum of shunt voltages" (drivers/hwmon/ina3221.c)."""

RESET_CYCLE_S = 6.6e-3
"""3 channels of 2.2 ms: an INA3221 at its reset settings (SBOS776C); the kernel's read waits for the end of it."""


@dataclass(frozen=True)
class JetsonRails:
    """The rails that make up the module's input, and how to say so."""

    rails: tuple[Rail, ...]
    layout: str
    cycle_s: float

    @property
    def labels(self) -> tuple[str, ...]:
        """The rails' names."""
        return tuple(rail.label for rail in self.rails)


def find_jetson_rails(root: Path) -> JetsonRails:
    """Return the rails to measure under ``root`` (normally /); raises ``SensorMissing`` where there are none."""
    devices = [
        name_file.parent
        for name_file in sorted(root.glob("sys/bus/i2c/devices/*/name"))
        if read_text(name_file) in ("ina3221", "ina3221x")
    ]
    iio = [rail for device in devices for rail in _iio_rails(device)]
    if iio:
        return JetsonRails(_choose_total(iio), "iio", RESET_CYCLE_S)
    folders = [folder for device in devices for folder in sorted(device.glob("hwmon/hwmon*"))]
    rails = [rail for folder in folders for rail in _hwmon_rails(folder)]
    if rails:
        return JetsonRails(_choose_total(rails), "hwmon", max(_update_interval_s(folder) for folder in folders))
    raise SensorMissing("no Jetson power monitor under {}sys/bus/i2c/devices".format(root))


def open_jetson(root: Path) -> RailSensor:
    """Return the module's input power; scope ``module_input`` (the carrier board is not always in it)."""
    found = find_jetson_rails(root)
    detail: dict[str, Scalar] = {"rails": ",".join(found.labels), "layout": found.layout}
    traits = SensorTraits(
        chip="ina3221",
        scope="module_input",
        cycle_s=found.cycle_s,
        averaging_s=found.cycle_s / 6,  # one channel of three, and half of it for the bus
        lag_s=found.cycle_s / 2,
        limits=None,  # nobody states the tolerance of the module's shunts
        detail=detail,
    )
    return RailSensor(found.rails, traits)


def _choose_total(rails: Sequence[Rail]) -> tuple[Rail, ...]:
    """Return the one rail that feeds the others, else all of them (AGX boards have no total)."""
    for label in TOTAL_RAILS:
        for rail in rails:
            if rail.label == label:
                return (rail,)
    return tuple(rails)


def _iio_rails(device: Path) -> Iterator[Rail]:
    for label_file in sorted(device.glob("iio:device*/rail_name_*")):
        number = label_file.name.rsplit("_", 1)[1]
        label = read_text(label_file)
        if label != UNUSED_LABEL:
            folder = label_file.parent
            voltage, current = "in_voltage{}_input".format(number), "in_current{}_input".format(number)
            yield Rail(label, folder / voltage, folder / current)


def _hwmon_rails(folder: Path) -> Iterator[Rail]:
    for label_file in sorted(folder.glob("in*_label")):
        match = re.fullmatch(r"in(\d+)_label", label_file.name)
        label = read_text(label_file)
        if match is None or int(match.group(1)) >= SUM_CHANNEL or label == UNUSED_LABEL:
            continue
        number = match.group(1)
        yield Rail(label, folder / "in{}_input".format(number), folder / "curr{}_input".format(number))


def _update_interval_s(folder: Path) -> float:
    path = folder / "update_interval"
    return max(read_number(path), 1) * 1e-3 if path.exists() else RESET_CYCLE_S
