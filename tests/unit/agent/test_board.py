"""What the agent reads about its board, from prepared /proc and /sys trees."""

import sys
from pathlib import Path

import pytest

from edgefleet_agent.inventory import detect_board, facts_sha256, probe_runtimes, take_inventory
from edgefleet_agent.measure.environment import Roots, cpu_model, read_conditions
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime
from edgefleet_agent.settings import AgentSettings


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("proc/device-tree", "sys"):
        (tmp_path / name).mkdir(parents=True)
    return Roots(proc=tmp_path / "proc", sys=tmp_path / "sys")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class TestBoardKind:
    @pytest.mark.parametrize(
        ("model", "kind"),
        [
            ("Raspberry Pi 4 Model B Rev 1.4\0", "raspberry-pi-4"),
            ("Raspberry Pi 5 Model B Rev 1.0\0", "raspberry-pi-5"),
            ("NVIDIA Jetson Nano Developer Kit\0", "jetson-nano"),
            ("Freescale i.MX8MQ Phanbell\0", "coral-dev-board"),
            ("Some Other Board\0", "linux-host"),
        ],
    )
    def test_comes_from_the_device_tree(self, roots: Roots, model: str, kind: str) -> None:
        write(roots.proc / "device-tree/model", model)
        assert detect_board(roots) == kind

    def test_without_a_device_tree_is_a_linux_host(self, roots: Roots) -> None:
        assert detect_board(roots) == "linux-host"

    @pytest.mark.parametrize(("vendor", "product"), [("1a6e", "089a"), ("18d1", "9302")])
    def test_host_with_a_coral_accelerator_is_coral_usb(self, roots: Roots, vendor: str, product: str) -> None:
        write(roots.sys / "bus/usb/devices/1-1/idVendor", vendor + "\n")
        write(roots.sys / "bus/usb/devices/1-1/idProduct", product + "\n")
        assert detect_board(roots) == "coral-usb"


class TestConditions:
    def test_bare_host_has_unknown_values_and_not_zeros(self, roots: Roots) -> None:
        conditions = read_conditions(roots)
        assert conditions.governors == []
        assert conditions.temperatures_c == {}
        assert conditions.cpu_steal_s is None
        assert conditions.available_memory_bytes is None

    def test_raspberry_pi(self, roots: Roots) -> None:
        for core, frequency in enumerate(("1500000", "600000")):
            policy = roots.sys / "devices/system/cpu/cpufreq/policy{}".format(core)
            write(policy / "scaling_governor", "ondemand\n")
            write(policy / "scaling_cur_freq", frequency + "\n")
        write(roots.sys / "class/thermal/thermal_zone0/temp", "48312\n")
        write(roots.sys / "class/thermal/thermal_zone0/type", "cpu-thermal\n")
        write(roots.sys / "devices/platform/soc/soc:firmware/get_throttled", "50005\n")
        write(roots.proc / "stat", "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 2 3\n")
        write(roots.proc / "meminfo", "MemTotal:  2048 kB\nMemAvailable:  1024 kB\n")
        write(roots.proc / "loadavg", "0.52 0.40 0.30 1/100 999\n")
        conditions = read_conditions(roots)
        assert conditions.governors == ["ondemand"]
        assert conditions.frequencies_khz == [1500000, 600000]
        assert conditions.temperatures_c == {"cpu-thermal": 48.312}
        assert conditions.throttled_bits == 0x50005
        assert conditions.cpu_steal_s == pytest.approx(0.08)
        assert conditions.cpu_busy_s == pytest.approx(1.63)
        assert conditions.available_memory_bytes == 1024 * 1024
        assert conditions.load_average_1m == 0.52

    def test_pressure_fan_and_under_voltage_alarm(self, roots: Roots) -> None:
        for name, total in (("cpu", 12_345_678), ("memory", 0)):
            text = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"
            write(roots.proc / "pressure" / name, text.format(total))
        write(roots.sys / "class/hwmon/hwmon2/name", "rpi_volt\n")
        write(roots.sys / "class/hwmon/hwmon2/in0_lcrit_alarm", "1\n")
        write(roots.sys / "class/thermal/cooling_device0/type", "pwm-fan\n")
        write(roots.sys / "class/thermal/cooling_device0/cur_state", "2\n")
        conditions = read_conditions(roots)
        assert conditions.pressure_s == {"cpu": 12.345678, "memory": 0.0}
        assert conditions.under_voltage_alarm is True
        assert conditions.cooling == {"pwm-fan": 2}

    def test_zones_of_one_type_are_all_kept(self, roots: Roots) -> None:
        for number, value in enumerate(("40000", "41000")):
            write(roots.sys / "class/thermal/thermal_zone{}/temp".format(number), value)
            write(roots.sys / "class/thermal/thermal_zone{}/type".format(number), "acpitz")
        assert sorted(read_conditions(roots).temperatures_c.values()) == [40.0, 41.0]

    def test_arm_boards_are_named_by_their_model_line(self, roots: Roots) -> None:
        write(roots.proc / "cpuinfo", "processor : 0\nBogoMIPS : 108.00\nModel : Raspberry Pi 4 Model B Rev 1.4\n")
        assert cpu_model(roots) == "Raspberry Pi 4 Model B Rev 1.4"


class TestRuntimes:
    def test_onnxruntime_is_found_in_this_interpreter(self) -> None:
        found, failures = probe_runtimes({}, {"onnxruntime": RUNTIMES["onnxruntime"]})
        assert failures == []
        assert found[0].interpreter == sys.executable
        assert "CPUExecutionProvider" in found[0].providers

    def test_pinned_interpreter_is_the_only_one_asked(self) -> None:
        found, failures = probe_runtimes({"onnxruntime": "/nowhere/python"}, {"onnxruntime": RUNTIMES["onnxruntime"]})
        assert found == []
        assert [failure.interpreter for failure in failures] == ["/nowhere/python"]

    def test_missing_runtime_says_which_module(self) -> None:
        absent = Runtime("absent", "edgefleet_agent.runner.absent_", ())
        _, failures = probe_runtimes({"absent": sys.executable}, {"absent": absent})
        assert "absent_" in failures[0].message

    def test_facts_hash_changes_with_the_facts(self) -> None:
        facts = take_inventory(AgentSettings(board="raspberry-pi-4")).facts
        assert facts.board == "raspberry-pi-4"
        assert facts_sha256(facts) == facts_sha256(facts.model_copy())
        assert facts_sha256(facts) != facts_sha256(facts.model_copy(update={"labels": {"room": "7"}}))
