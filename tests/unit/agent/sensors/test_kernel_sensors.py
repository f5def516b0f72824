"""Sensors behind kernel files, on trees made here: hwmon, JetPack 4 and 5, RAPL, batteries; and the Pi 5 PMIC."""

import math
import os
from pathlib import Path

import pytest

from edgefleet_agent.sensors.errors import PermissionDenied, ReadingInvalid, SensorMissing, SensorUnusable
from edgefleet_agent.sensors.hwmon import open_hwmon
from edgefleet_agent.sensors.jetson import find_jetson_rails, open_jetson
from edgefleet_agent.sensors.pi5_pmic import Pi5Pmic, parse_pmic, total_power_w
from edgefleet_agent.sensors.power_supply import Battery, batteries
from edgefleet_agent.sensors.rapl import Rapl, rapl_packages
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.sysfs import SysfsNumber, parse_number

# github.com/leukipp/touchkio issue 35: a Raspberry Pi 5 at light load
PMIC_SAMPLE = """
        3V7_WL_SW_A current(0)=0.12199130A
          3V3_SYS_A current(1)=0.15224510A
          1V8_SYS_A current(2)=0.17273960A
         DDR_VDD2_A current(3)=0.11613570A
         DDR_VDDQ_A current(4)=0.02941200A
          1V1_SYS_A current(5)=0.21763240A
           0V8_SW_A current(6)=0.50748360A
         VDD_CORE_A current(7)=1.54489000A
          3V3_DAC_A current(17)=0.00000000A
          3V3_ADC_A current(18)=0.00018315A
          0V8_AON_A current(16)=0.00390720A
             HDMI_A current(22)=0.01709400A
        3V7_WL_SW_V volt(8)=3.60605200V
          3V3_SYS_V volt(9)=3.31931300V
          1V8_SYS_V volt(10)=1.79682400V
         DDR_VDD2_V volt(11)=1.10842400V
         DDR_VDDQ_V volt(12)=0.60549390V
          1V1_SYS_V volt(13)=1.10219700V
           0V8_SW_V volt(14)=0.80146440V
         VDD_CORE_V volt(15)=0.88725180V
          3V3_DAC_V volt(20)=3.31501500V
          3V3_ADC_V volt(21)=3.31684600V
          0V8_AON_V volt(19)=0.79882700V
             HDMI_V volt(23)=4.90440000V
            EXT5V_V volt(24)=4.87894000V
             BATT_V volt(25)=2.50512600V
"""


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    return folder


def jetpack4(root: Path, labels: dict[int, str]) -> None:
    device = write_tree(root / "sys/bus/i2c/devices/6-0040", {"name": "ina3221x"})
    for number, label in labels.items():
        files = {
            "rail_name_{}".format(number): label,
            "in_voltage{}_input".format(number): "5000",
            "in_current{}_input".format(number): "{} ma".format(400 + 100 * number),
            "in_power{}_input".format(number): "2000",
        }
        write_tree(device / "iio:device0", files)


def jetpack5(root: Path, labels: dict[int, str], address: str = "1-0040") -> None:
    device = write_tree(root / "sys/bus/i2c/devices" / address, {"name": "ina3221"})
    for number, label in labels.items():
        files = {
            "in{}_label".format(number): label,
            "in{}_input".format(number): "5000",
            "curr{}_input".format(number): str(400 + 100 * number),
            "update_interval": "7",
        }
        write_tree(device / "hwmon/hwmon3", files)


class TestJetson:
    """The total is one rail where there is one; nothing is added to it."""

    def test_nano_with_jetpack_4_uses_pom_5v_in_alone(self, tmp_path: Path) -> None:
        jetpack4(tmp_path, {0: "POM_5V_IN", 1: "POM_5V_GPU", 2: "POM_5V_CPU"})
        sensor = open_jetson(tmp_path)
        assert sensor.read().power_w == pytest.approx(5.0 * 0.4)
        assert sensor.traits.scope == "module_input"
        assert sensor.traits.detail["layout"] == "iio"
        sensor.close()

    def test_orin_with_jetpack_5_uses_vdd_in_alone(self, tmp_path: Path) -> None:
        labels = {1: "VDD_IN", 2: "VDD_CPU_GPU_CV", 3: "VDD_SOC", 7: "sum of shunt voltages"}
        jetpack5(tmp_path, labels)
        sensor = open_jetson(tmp_path)
        assert sensor.read().power_w == pytest.approx(5.0 * 0.5)
        assert sensor.traits.cycle_s == pytest.approx(0.007)
        sensor.close()

    def test_agx_without_a_total_sums_its_rails(self, tmp_path: Path) -> None:
        jetpack5(tmp_path, {1: "GPU", 2: "CPU", 3: "SOC", 7: "sum of shunt voltages"})
        sensor = open_jetson(tmp_path)
        assert sensor.read().power_w == pytest.approx(5.0 * (0.5 + 0.6 + 0.7))
        sensor.close()

    def test_unconnected_channels_are_skipped(self, tmp_path: Path) -> None:
        jetpack5(tmp_path, {1: "NC", 2: "VDD_SOC", 3: "NC"})
        assert find_jetson_rails(tmp_path).labels == ("VDD_SOC",)

    def test_other_boards_have_none(self, tmp_path: Path) -> None:
        with pytest.raises(SensorMissing, match="no Jetson"):
            open_jetson(tmp_path)


class TestHwmon:
    """The kernel's ina2xx driver."""

    FILES = {"name": "ina226", "in1_input": "5000", "curr1_input": "1000", "shunt_resistor": "10000"}

    def test_power_is_volts_times_amperes(self, tmp_path: Path) -> None:
        sensor = open_hwmon(write_tree(tmp_path, self.FILES), scope="board_5v_input")
        assert sensor.read().power_w == pytest.approx(5.0)
        assert sensor.traits.cycle_s == pytest.approx(0.035)
        sensor.close()

    def test_known_shunt_corrects_what_the_kernel_assumed(self, tmp_path: Path) -> None:
        folder = write_tree(tmp_path, {**self.FILES, "update_interval": "9"})
        sensor = open_hwmon(folder, scope="board_5v_input", shunt=ShuntCalibration(0.1))
        assert sensor.read().current_a == pytest.approx(0.1)
        assert sensor.traits.limits is not None
        assert sensor.traits.cycle_s == pytest.approx(0.009)
        sensor.close()

    def test_accuracy_is_unknown_without_a_known_shunt(self, tmp_path: Path) -> None:
        sensor = open_hwmon(write_tree(tmp_path, self.FILES), scope="board_5v_input")
        assert sensor.traits.limits is None
        sensor.close()

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SensorMissing, match="in2_input"):
            open_hwmon(write_tree(tmp_path, self.FILES), scope="board_5v_input", channels=(2,))


class TestRapl:
    """Energy counters of the packages."""

    def tree(self, root: Path, energy_uj: int, zones: tuple[str, ...] = ("intel-rapl:0",)) -> Path:
        for zone in zones:
            name = "package-0" if zone.count(":") == 1 else "core"
            files = {"name": name, "energy_uj": str(energy_uj), "max_energy_range_uj": "1000000"}
            write_tree(root / "sys/class/powercap" / zone, files)
        return root / "sys/class/powercap"

    def test_counter_wraps_at_its_range(self, tmp_path: Path) -> None:
        folder = self.tree(tmp_path, 999_000)
        sensor = Rapl(tmp_path)
        (folder / "intel-rapl:0/energy_uj").write_text("2000\n")
        reading = sensor.read()
        assert reading.energy_j == pytest.approx(0.003)
        assert math.isnan(reading.power_w)
        sensor.close()

    def test_subzones_are_part_of_their_package(self, tmp_path: Path) -> None:
        self.tree(tmp_path, 0, ("intel-rapl:0", "intel-rapl:0:0"))
        assert [zone.name for zone in rapl_packages(tmp_path)] == ["intel-rapl:0"]

    def test_absence_is_the_normal_case(self, tmp_path: Path) -> None:
        with pytest.raises(SensorMissing):
            Rapl(tmp_path)


class TestBattery:
    """Gauges tell power, or voltage and current, in millionths."""

    def test_power_now(self, tmp_path: Path) -> None:
        files = {"type": "Battery", "status": "Discharging", "power_now": "7500000"}
        sensor = Battery(write_tree(tmp_path, files))
        sensor.configure()
        assert sensor.read().power_w == pytest.approx(7.5)
        sensor.close()

    def test_current_of_either_sign(self, tmp_path: Path) -> None:
        files = {"type": "Battery", "status": "Discharging", "voltage_now": "3700000", "current_now": "-2000000"}
        sensor = Battery(write_tree(tmp_path, files))
        assert sensor.read().power_w == pytest.approx(7.4)
        sensor.close()

    def test_charging_battery_says_nothing_of_the_board(self, tmp_path: Path) -> None:
        sensor = Battery(write_tree(tmp_path, {"type": "Battery", "status": "Charging", "power_now": "1"}))
        with pytest.raises(SensorUnusable, match="battery is charging"):
            sensor.configure()
        sensor.close()

    def test_gauge_without_figures(self, tmp_path: Path) -> None:
        with pytest.raises(SensorMissing, match="neither power nor current"):
            Battery(write_tree(tmp_path, {"type": "Battery", "status": "Discharging"}))

    def test_mains_is_no_battery(self, tmp_path: Path) -> None:
        write_tree(tmp_path / "sys/class/power_supply/AC", {"type": "Mains"})
        assert list(batteries(tmp_path)) == []


class TestPmic:
    """The Pi 5's own rails."""

    def test_sample_sums_to_3_507_w(self) -> None:
        rails = parse_pmic(PMIC_SAMPLE)
        assert len(rails) == 12
        assert total_power_w(rails) == pytest.approx(3.507, abs=5e-4)

    def test_rails_without_current_are_left_out(self) -> None:
        assert {"EXT5V", "BATT"}.isdisjoint(parse_pmic(PMIC_SAMPLE))

    def test_other_text_is_refused(self) -> None:
        with pytest.raises(ReadingInvalid, match="Raspberry Pi 5"):
            parse_pmic("VCHI initialization failed\n")

    def test_sensor_reads_through_its_provider(self) -> None:
        sensor = Pi5Pmic(lambda: PMIC_SAMPLE)
        sensor.configure()
        assert sensor.read().power_w == pytest.approx(3.507, abs=5e-4)
        assert sensor.traits.scope == "pmic_rails"


class TestSysfsNumber:
    """One file."""

    def test_units_of_vendor_kernels_are_accepted(self, tmp_path: Path) -> None:
        assert parse_number("1234 ma", tmp_path) == 1234

    def test_text_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ReadingInvalid, match="'unknown'"):
            parse_number("unknown", tmp_path)

    def test_every_read_is_new(self, tmp_path: Path) -> None:
        path = write_tree(tmp_path, {"value": "1"}) / "value"
        number = SysfsNumber(path)
        assert number.read() == 1
        path.write_text("2\n")
        assert number.read() == 2
        number.close()

    def test_permission_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str, flags: int) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(PermissionDenied, match="udev rule"):
            SysfsNumber(tmp_path / "energy_uj")
