"""The fakes themselves: data sheet examples through the registers, conversion timing, closed-form averages."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.sensors.clock import MonotonicClock
from edgefleet_agent.sensors.fake.chips import FakeIna219, FakeIna226, FakeIna3221
from edgefleet_agent.sensors.fake.fake_ina import ChipErrors, Load
from edgefleet_agent.sensors.fake.fast import record_fast
from edgefleet_agent.sensors.fake.waveforms import Constant, Ramp, Square
from edgefleet_agent.sensors.ina_facts import InaSettings
from edgefleet_agent.sensors.recording import record

MakeRig = Callable[..., Any]
MS = 1_000_000


def test_ina219_example_of_table_8() -> None:
    chip = FakeIna219({1: Load(Constant(119.8), 11.98)}, 2e-3)
    chip.write(5, 0x5000, 0)
    chip.write(0, 0x219F, 0)
    assert [chip.read(register, 5 * MS) for register in (1, 4, 3)] == [0x07D0, 0x2710, 0x1766]
    assert chip.read(2, 5 * MS) >> 3 == 0x0BB3


def test_ina226_example_of_table_6_1() -> None:
    chip = FakeIna226({1: Load(Constant(119.8), 11.98)}, 2e-3)
    chip.write(5, 0x0A00, 0)
    assert [chip.read(register, 5 * MS) for register in (1, 2, 4, 3)] == [0x1F40, 0x2570, 0x2710, 0x12B8]


@pytest.mark.parametrize(
    ("millivolts", "codes"),
    [
        (320.02, (0x7D00, 0x3E80, 0x1F40, 0x0FA0)),
        (-320.02, (0x8300, 0xC180, 0xE0C0, 0xF060)),
        (160.02, (0x3E82, 0x3E80, 0x1F40, 0x0FA0)),
        (40.0, (0x0FA0, 0x0FA0, 0x0FA0, 0x0FA0)),
    ],
)
def test_ina219_clamp_table_7(millivolts: float, codes: tuple[int, ...]) -> None:
    for gain_code, expected in zip((3, 2, 1, 0), codes, strict=True):
        chip = FakeIna219({1: Load(Constant(5.0 * millivolts * 1e-3 / 0.1))}, 0.1)
        chip.write(0, 0x2000 | gain_code << 11 | 0x019F, 0)
        assert chip.read(1, 5 * MS) == expected


def test_current_and_power_read_zero_until_calibrated() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01)
    assert [chip.read(register, 5 * MS) for register in (3, 4)] == [0, 0]


def test_power_on_state() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01)
    assert [chip.read(register, 0) for register in (0, 0xFE, 0xFF, 5)] == [0x4127, 0x5449, 0x2260, 0]
    assert FakeIna3221({}, 0.01).read(7, 0) == 0x7FF8


def test_reset_clears_calibration_and_configuration() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01, reset_at_ns=10 * MS)
    chip.write(5, 2048, 0)
    chip.write(0, 0x4127 | 0x0200, 0)
    assert chip.read(5, 9 * MS) == 2048
    assert [chip.read(register, 11 * MS) for register in (5, 0)] == [0, 0x4127]


def test_ready_flag_rises_at_the_end_of_the_cycle_and_reading_clears_it() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01)
    assert [chip.read(6, t) & 8 for t in (2_199_000, 2_201_000, 2_202_000, 4_401_000)] == [0, 8, 0, 8]


def test_writing_the_configuration_clears_the_ready_flag() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01)
    chip.write(0, 0x4127, 3 * MS)
    assert chip.read(6, 4 * MS) & 8 == 0


def test_triggered_mode_converts_once() -> None:
    chip = FakeIna226({1: Load(Ramp(0.0, 1.0))}, 0.01)
    chip.write(0, 0x4123, 0)
    first = chip.read(1, 10 * MS)
    assert first == chip.read(1, 900 * MS)


def test_power_down_needs_40_us_to_recover() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01)
    chip.write(0, 0x4120, 0)
    assert chip.read(6, 100 * MS) & 8 == 0
    chip.write(0, 0x4127, 100 * MS)
    assert chip.read(6, 100 * MS + 2_220_000) & 8 == 0
    assert chip.read(6, 100 * MS + 2_241_000) & 8 == 8


def test_result_is_the_mean_over_the_shunt_windows() -> None:
    """Ramp of 1 W/s from 0, 1.1 ms shunt then 1.1 ms bus: the 5th result averages 8.8 to 9.9 ms: 9.35 mW."""
    chip = FakeIna226({1: Load(Ramp(0.0, 1000.0))}, 0.01)
    codes = chip.codes_of_cycles(np.array([5]))
    assert codes.shunt[1][0] * 2.5e-6 / 0.01 * 5 == pytest.approx(9.35, abs=0.5 * 2.5e-6 / 0.01 * 5)


def test_ina3221_converts_its_channels_in_turn() -> None:
    loads = {channel: Load(Ramp(0.0, 1000.0)) for channel in (1, 2, 3)}
    chip = FakeIna3221(loads, 0.01)
    codes = chip.codes_of_cycles(np.array([1]))
    powers_w = [codes.shunt[channel][0] * 40e-6 / 0.01 * 5 for channel in (1, 2, 3)]
    assert powers_w == pytest.approx([0.55, 2.75, 4.95], abs=0.011)


def test_chip_errors_shift_the_reading() -> None:
    chip = FakeIna226({1: Load(Constant(5.0))}, 0.01, errors=ChipErrors(shunt_gain=0.01, shunt_offset_v=10e-6))
    assert chip.read(1, 5 * MS) == round((0.01 * 1.01 + 10e-6) / 2.5e-6)


@pytest.mark.parametrize("kind", ["ina219", "ina226", "ina228", "ina260", "ina3221"])
@pytest.mark.parametrize("readiness", ["flag", "timed"])
def test_fast_recording_equals_the_sampling_loop(kind: str, readiness: str, make_rig: MakeRig) -> None:
    settings = InaSettings(3, 1, 1 if kind != "ina219" else 0, 3 if kind == "ina219" else 0)
    load = Square(1.0, 6.0, 0.0373, duty=0.6)
    slow_rig = make_rig(kind, load, settings, readiness=readiness, transfer_ns=0)
    slow = record(slow_rig.sensor, slow_rig.clock, period_s=0.002, duration_s=0.6)
    rig = make_rig(kind, load, settings, readiness=readiness, transfer_ns=0)
    rig.sensor.configure()
    fast = record_fast(rig.sensor, rig.chip, start_ns=0, period_s=0.002, duration_s=0.6)
    n = min(len(slow.t_ns), len(fast.t_ns)) - 1
    first = int(np.searchsorted(slow.t_ns, fast.t_ns[0]))  # before the first conversion, timed reads see zeros
    n -= first
    assert n > 100
    assert np.array_equal(slow.t_ns[first : first + n], fast.t_ns[:n])
    assert slow.power_w[first : first + n] == pytest.approx(fast.power_w[:n], nan_ok=True)
    assert slow.energy_j[first : first + n] == pytest.approx(fast.energy_j[:n], nan_ok=True)


def test_monotonic_clock_waits_until_its_deadline() -> None:
    clock = MonotonicClock()
    deadline_ns = clock.now_ns() + 2 * MS
    clock.sleep_until_ns(deadline_ns)
    assert clock.now_ns() >= deadline_ns
