"""Which power sensors this board has: kernel interfaces, and INA chips on the I2C buses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from edgefleet_agent.sensors.bus import I2CBus
from edgefleet_agent.sensors.errors import SensorError, SensorMissing
from edgefleet_agent.sensors.hwmon import HWMON_CHIPS, hwmon_folders, hwmon_name
from edgefleet_agent.sensors.jetson import find_jetson_rails
from edgefleet_agent.sensors.power_supply import batteries
from edgefleet_agent.sensors.rapl import rapl_packages
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.sensors.sysfs import read_text

PROBED_ADDRESSES = range(0x40, 0x50)
"""Addresses an INA chip can have."""

TI_MANUFACTURER = 0x5449

OpenBus = Callable[[int], I2CBus]


@dataclass(frozen=True)
class FoundChip:
    """An INA chip that answers on a bus. ``is_certain`` is false for INA219, which has no identification."""

    bus: int
    address: int
    kind: str
    is_certain: bool


def find_kernel_sensors(root: Path = Path("/")) -> list[SensorSpec]:
    """Return the sensors the kernel offers, those that see most of the board first. Absence is the normal case."""
    found = [*_jetson(root), *_hwmon(root), *_pi5(root)]
    if rapl_packages(root):
        found.append(SensorSpec("rapl"))
    discharging = [folder for folder in batteries(root) if read_text(folder / "status") == "Discharging"]
    return [*found, *(SensorSpec("power_supply", path=str(folder)) for folder in discharging)]


def find_sensors(configured: Sequence[SensorSpec] = (), root: Path = Path("/")) -> list[SensorSpec]:
    """Return the sensors to choose from, the best first: what a person configured, then what the kernel offers.

    A chip on I2C is never used without a person naming its shunt: its current would be a guess.
    """
    return [*configured, *find_kernel_sensors(root)]


def i2c_buses(root: Path = Path("/")) -> list[int]:
    """Return the numbers of the I2C buses with a device node."""
    numbers = (path.name.rsplit("-", 1)[1] for path in root.glob("dev/i2c-*"))
    return sorted(int(number) for number in numbers if number.isdigit())


def bus_speed_hz(number: int, root: Path = Path("/")) -> Optional[int]:
    """Return a bus's clock from the device tree (a big-endian 32-bit number), or ``None`` where it is not told."""
    try:
        content = (root / "sys/bus/i2c/devices/i2c-{}/of_node/clock-frequency".format(number)).read_bytes()
    except OSError:
        return None
    return int.from_bytes(content[:4], "big") or None


def claiming_driver(bus: int, address: int, root: Path = Path("/")) -> Optional[str]:
    """Return the kernel driver that holds an address, or ``None``."""
    link = root / "sys/bus/i2c/devices/{}-{:04x}/driver".format(bus, address)
    return link.readlink().name if link.is_symlink() else None


def scan_bus(number: int, bus: I2CBus, skip: frozenset[int] = frozenset()) -> Iterator[FoundChip]:
    """Yield the INA chips on a bus. Only reads identification registers; a free address or another chip is passed by.

    Raises the coded ``SensorError`` of a bus that cannot be used at all (permission, hang).
    """
    for address in PROBED_ADDRESSES:
        if address in skip:
            continue
        try:
            kind, is_certain = _identify(bus, address)
        except SensorMissing:
            continue
        if kind:
            yield FoundChip(number, address, kind, is_certain)


def _identify(bus: I2CBus, address: int) -> tuple[str, bool]:
    """Return kind and certainty; an empty kind for a chip that is no INA."""
    if bus.read_word_be(address, 0xFE) == TI_MANUFACTURER:
        die = bus.read_word_be(address, 0xFF)
        if die == 0x3220:
            return "ina3221", True
        return {0x2260: "ina226", 0x2270: "ina260"}.get(die & 0xFFF0, ""), True
    if bus.read_word_be(address, 0x3E) == TI_MANUFACTURER:
        return ("ina228" if bus.read_word_be(address, 0x3F) & 0xFFF0 == 0x2280 else ""), True
    return ("ina219" if bus.read_word_be(address, 0x00) == 0x399F else ""), False


def _jetson(root: Path) -> list[SensorSpec]:
    try:
        find_jetson_rails(root)
    except SensorError:
        return []
    return [SensorSpec("jetson")]


def _hwmon(root: Path) -> list[SensorSpec]:
    if _jetson(root):  # its ina3221 shows in hwmon too, rail by rail
        return []
    return [
        SensorSpec("hwmon", path=str(folder)) for folder in hwmon_folders(root) if hwmon_name(folder) in HWMON_CHIPS
    ]


def _pi5(root: Path) -> list[SensorSpec]:
    try:
        model = read_text(root / "proc/device-tree/model")
    except SensorError:
        return []
    return [SensorSpec("pi5_pmic")] if "Raspberry Pi 5" in model else []
