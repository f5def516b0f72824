"""What the doctor says of sensors, on fake trees and buses."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent.sensors.bus import I2CBus, bus_error
from edgefleet_agent.sensors.fake.chips import FAKE_CHIPS
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.fake_ina import FakeIna, Load
from edgefleet_agent.sensors.fake.waveforms import Constant
from edgefleet_agent.sensors.finder import bus_speed_hz, find_sensors, i2c_buses
from edgefleet_agent.sensors.findings import OK, PROBLEM, SensorFinding
from edgefleet_agent.sensors.selftest import describe_sensors
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec

LOAD = {1: Load(Constant(4.0))}


def fake_spec(kind: str = "ina226", waveform_w: float = 4.0, **options: Any) -> SensorSpec:
    shunt = ShuntCalibration({"ina219": 0.1, "ina226": 0.01}.get(kind, 0.01))
    return SensorSpec(kind, shunt=shunt, fake=fake_options(Constant(waveform_w), **options))


def describe(
    *specs: SensorSpec, root: Path, chips: dict[int, FakeIna] | None = None, number: int = 1
) -> dict[str, SensorFinding]:
    clock = VirtualClock()
    if chips is not None:
        (root / "dev").mkdir()
        (root / "dev/i2c-{}".format(number)).touch()
    findings = describe_sensors(
        specs, root=root, open_bus=lambda one: FakeBus(chips or {}, clock, number=one), clock=clock
    )
    return {finding.code: finding for finding in findings}


def test_board_without_sensors_says_what_to_buy(tmp_path: Path) -> None:
    found = describe(root=tmp_path)
    assert list(found) == ["no_sensor"]
    assert "INA226" in found["no_sensor"].advice


def test_working_sensor_is_ok_with_its_reading(tmp_path: Path) -> None:
    found = describe(fake_spec(), root=tmp_path)
    assert list(found) == ["sensor_ok"]
    assert "4.000 W at 5.000 V" in found["sensor_ok"].text


@pytest.mark.parametrize(
    ("options", "code", "advice"),
    [
        ({"missing": True}, "sensor_missing", "wiring"),
        ({"wrong_kind": "ina260"}, "wrong_chip", "correct the kind"),
        ({"faults": [["Fails", {"number": errno.EACCES}]]}, "permission_denied", "group"),
        ({"faults": [["Fails", {"number": errno.EBUSY}]]}, "address_claimed", "hwmon"),
        ({"faults": [["Fails", {"number": errno.EIO}]]}, "sensor_loss", "wiring"),
        ({"faults": [["Hangs", {"every": 1}]]}, "bus_timeout", "power-cycle"),
        ({"faults": [["SwapsBytes", {}]]}, "wrong_chip", ""),
        ({"waveform_w": -4.0}, "current_reversed", "swap IN"),
        ({"waveform_w": 50.0}, "sensor_saturated", "smaller shunt"),
        ({"voltage_v": 1e-6, "waveform_w": 1e-7}, "no_voltage", "VBUS"),
        ({"transfer_ns": 600_000}, "bus_slow", "400"),
        ({"reset_at_ns": 30_000_000}, "sensor_reset", "supply"),
    ],
)
def test_faults_are_named_with_their_cure(options: dict[str, Any], code: str, advice: str, tmp_path: Path) -> None:
    found = describe(fake_spec(**options), root=tmp_path)
    assert code in found
    assert advice in found[code].advice


def test_stopped_chip_finishes_no_conversion(tmp_path: Path) -> None:
    """The ready flag sticks at zero."""
    found = describe(fake_spec(faults=[["Sticks", {"register": 6, "value": 0}]]), root=tmp_path)
    assert found["sensor_gap"].level == PROBLEM


def test_address_held_by_the_kernel(tmp_path: Path) -> None:
    device = tmp_path / "sys/bus/i2c/devices/1-0040"
    device.mkdir(parents=True)
    (device / "driver").symlink_to("../../../../bus/i2c/drivers/ina2xx")
    found = describe(fake_spec(), root=tmp_path)
    assert "ina2xx holds" in found["address_claimed"].text
    assert "hwmon" in found["address_claimed"].advice


def test_two_sensors_on_one_address(tmp_path: Path) -> None:
    found = describe(fake_spec(), fake_spec("ina219"), root=tmp_path)
    assert "A0 and A1" in found["address_conflict"].advice


def test_slow_bus_is_told_from_the_device_tree(tmp_path: Path) -> None:
    node = tmp_path / "sys/bus/i2c/devices/i2c-1/of_node"
    node.mkdir(parents=True)
    (node / "clock-frequency").write_bytes((100_000).to_bytes(4, "big"))
    assert bus_speed_hz(1, tmp_path) == 100_000
    found = describe(root=tmp_path, chips={})
    assert "100 kHz" in found["bus_slow"].text


@pytest.mark.parametrize("kind", sorted(FAKE_CHIPS))
def test_unconfigured_chips_are_found_by_their_ids(kind: str, tmp_path: Path) -> None:
    found = describe(root=tmp_path, chips={0x41: FAKE_CHIPS[kind](LOAD, 0.01)})
    assert "{},bus=1,address=0x41,shunt=OHM".format(kind) in found["not_configured"].advice


def test_bus_without_permission(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/i2c-1").touch()

    def refuse(number: int) -> I2CBus:
        raise bus_error(OSError(errno.EACCES, os.strerror(errno.EACCES)), where="i2c-{}".format(number))

    findings = describe_sensors((), root=tmp_path, open_bus=refuse, clock=VirtualClock())
    assert findings[0].code == "permission_denied"
    assert "i2c" in findings[0].advice


def test_only_numbered_buses_count(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("i2c-0", "i2c-20", "i2c-mux"):
        (tmp_path / "dev" / name).touch()
    assert i2c_buses(tmp_path) == [0, 20]


def test_kernel_sensors_are_found_in_order_of_what_they_see(tmp_path: Path) -> None:
    trees = {
        "sys/class/hwmon/hwmon0": {"name": "ina226", "in1_input": "5000", "curr1_input": "800"},
        "sys/class/powercap/intel-rapl:0": {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "9"},
        "sys/class/power_supply/BAT0": {"type": "Battery", "status": "Discharging", "power_now": "5000000"},
        "proc/device-tree": {"model": "Raspberry Pi 5 Model B Rev 1.0"},
    }
    for folder, files in trees.items():
        (tmp_path / folder).mkdir(parents=True)
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    configured = fake_spec()
    kinds = [spec.kind for spec in find_sensors([configured], tmp_path)]
    assert kinds == ["ina226", "hwmon", "pi5_pmic", "rapl", "power_supply"]


def test_kernel_sensor_is_tested_too(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/hwmon/hwmon0"
    folder.mkdir(parents=True)
    for name, text in {"name": "ina226", "in1_input": "5000", "curr1_input": "800"}.items():
        (folder / name).write_text(text)
    found = describe(root=tmp_path)
    assert found["sensor_ok"].level == OK
    assert "4.000 W" in found["sensor_ok"].text
