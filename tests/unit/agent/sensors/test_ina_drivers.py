"""What the drivers do when the chip behaves, and when it does not."""

import errno
import math
from collections.abc import Callable
from typing import Any

import pytest

from edgefleet_agent.sensors.errors import (
    AddressClaimed,
    BusFault,
    BusTimeout,
    SensorMissing,
    SensorReset,
    WrongChip,
)
from edgefleet_agent.sensors.fake.chips import FakeIna219
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.fake_ina import Load
from edgefleet_agent.sensors.fake.faults import Fails, FlipsBit, Hangs, Sticks, Stretches, SwapsBytes
from edgefleet_agent.sensors.fake.waveforms import Constant, Square
from edgefleet_agent.sensors.ina3221 import Ina3221
from edgefleet_agent.sensors.ina_facts import InaSettings
from edgefleet_agent.sensors.ina_sensor import Wiring
from edgefleet_agent.sensors.power_sensor import FRESH, OVERFLOW, SATURATED, STALE
from edgefleet_agent.sensors.shunt import ShuntCalibration

KINDS = ["ina219", "ina226", "ina228", "ina260", "ina3221"]
MakeRig = Callable[..., Any]


@pytest.mark.parametrize("kind", KINDS)
def test_same_operating_point_gives_the_same_power_within_one_lsb(kind: str, make_rig: MakeRig) -> None:
    rig = make_rig(kind, Constant(3.7), voltage_v=5.1)
    rig.sensor.configure()
    rig.wait_ms(5)
    reading, limits = rig.sensor.read(), rig.sensor.traits.limits
    lsb_w = 5.1 * limits.lsb_a + 3.7 / 5.1 * limits.lsb_v
    assert reading.power_w == pytest.approx(3.7, abs=lsb_w)


@pytest.mark.parametrize("kind", KINDS)
def test_each_conversion_is_fresh_once(kind: str, make_rig: MakeRig) -> None:
    rig = make_rig(kind)
    rig.sensor.configure()
    rig.wait_ms(4.5)
    assert rig.sensor.read().flags & FRESH
    second = rig.sensor.read()
    assert second.flags & STALE
    assert math.isnan(second.power_w)
    rig.wait_ms(5)
    assert rig.sensor.read().flags & FRESH


@pytest.mark.parametrize("cleared_by", [2, 3])
def test_ina219_does_not_depend_on_which_register_clears_its_ready_flag(
    cleared_by: int, make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data sheet names the status register in 8.3.1 and the power register in 8.6.3.2."""
    monkeypatch.setattr(FakeIna219, "cleared_by", cleared_by)
    rig = make_rig("ina219")
    rig.sensor.configure()
    n_fresh = 0
    for _ in range(100):
        rig.wait_ms(0.5)
        n_fresh += bool(rig.sensor.read().flags & FRESH)
    elapsed_s = rig.clock.now_ns() * 1e-9
    assert n_fresh == pytest.approx(elapsed_s / 1.064e-3, abs=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_reset_in_mid_run_is_found_by_read_back(kind: str, make_rig: MakeRig) -> None:
    rig = make_rig(kind, reset_at_ns=20_000_000)
    rig.sensor.configure()
    rig.wait_ms(5)
    rig.sensor.verify()
    rig.wait_ms(20)
    with pytest.raises(SensorReset, match="was reset"):
        rig.sensor.verify()


def test_reset_shows_even_when_the_settings_equal_the_reset_value(make_rig: MakeRig) -> None:
    """INA226 at 0x4127: only the calibration register tells."""
    rig = make_rig("ina226", settings=InaSettings(4, 4), reset_at_ns=20_000_000)
    assert rig.sensor.config_word() == 0x4127
    rig.sensor.configure()
    rig.wait_ms(30)
    with pytest.raises(SensorReset, match="0x05"):
        rig.sensor.verify()


@pytest.mark.parametrize("kind", ["ina226", "ina228", "ina260", "ina3221"])
def test_swapped_bytes_are_named(kind: str, make_rig: MakeRig) -> None:
    rig = make_rig(kind, faults=[SwapsBytes()])
    with pytest.raises(WrongChip, match="bytes are swapped"):
        rig.sensor.configure()


def test_swapped_bytes_of_a_chip_without_id_show_in_the_read_back(make_rig: MakeRig) -> None:
    rig = make_rig("ina219", faults=[SwapsBytes()])
    with pytest.raises(WrongChip, match="bytes are swapped"):
        rig.sensor.configure()


def test_wrong_chip_is_told_by_its_id(make_rig: MakeRig) -> None:
    rig, other = make_rig("ina226"), make_rig("ina260")
    rig.bus.chips = other.bus.chips
    with pytest.raises(WrongChip, match="0xff reads 0x2270"):
        rig.sensor.configure()


def test_flipped_bit_of_the_configuration_is_no_chip_of_this_kind(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", faults=[FlipsBit(register=0, bit=9)])
    with pytest.raises(WrongChip, match="disturbed"):
        rig.sensor.configure()


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EREMOTEIO, SensorMissing),
        (errno.EIO, BusFault),
        (errno.ETIMEDOUT, BusTimeout),
        (errno.EBUSY, AddressClaimed),
    ],
)
def test_error_numbers_become_coded_errors(number: int, error: type[Exception], make_rig: MakeRig) -> None:
    rig = make_rig("ina226", faults=[Fails(number)])
    with pytest.raises(error):
        rig.sensor.configure()


def test_missing_chip(make_rig: MakeRig) -> None:
    rig = make_rig("ina226")
    rig.bus.chips = {}
    with pytest.raises(SensorMissing, match="1-0040"):
        rig.sensor.configure()


def test_bus_hang_takes_the_smbus_timeout_and_says_so(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", faults=[Hangs(every=1)])
    with pytest.raises(BusTimeout):
        rig.sensor.identify()
    assert rig.clock.now_ns() == 35_010_000


def test_clock_stretching_only_costs_time(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", faults=[Stretches((0, 300_000, 0, 2_000_000))])
    rig.sensor.configure()
    rig.wait_ms(5)
    assert rig.sensor.read().power_w == pytest.approx(5.0, abs=0.01)


def test_stuck_register_reads_on(make_rig: MakeRig) -> None:
    """A driver cannot tell; the energy protocol does (sensor_stuck)."""
    rig = make_rig("ina226", Square(1.0, 6.0, 0.5), faults=[Sticks(register=1, value=0x0FA0)])
    rig.sensor.configure()
    powers = set()
    for _ in range(20):
        rig.wait_ms(50)
        powers.add(rig.sensor.read().power_w)
    assert len(powers) == 1


def test_ina219_clamps_without_overflow_and_the_driver_still_tells(make_rig: MakeRig) -> None:
    """320.02 mV at /8 reads 0x7D00 (table 7); OVF stays clear."""
    rig = make_rig("ina219", Constant(5.0 * 0.32002 / 0.1), settings=InaSettings(3, 3, gain_code=3))
    rig.sensor.configure()
    rig.wait_ms(5)
    assert rig.chip.read(1, rig.clock.now_ns()) == 0x7D00
    reading = rig.sensor.read()
    assert reading.flags & SATURATED
    assert not reading.flags & OVERFLOW


@pytest.mark.parametrize(("kind", "volts"), [("ina226", 0.09), ("ina228", 0.2), ("ina260", 0.1), ("ina3221", 0.2)])
def test_full_scale_is_flagged(kind: str, volts: float, make_rig: MakeRig) -> None:
    rig = make_rig(kind)
    power_w = 5.0 * volts / rig.chip.shunt_ohm
    rig.chip.loads = {1: Load(Constant(power_w))}
    rig.sensor.configure()
    rig.wait_ms(5)
    assert rig.sensor.read().flags & SATURATED


@pytest.mark.parametrize("kind", KINDS)
def test_current_flowing_back_reads_negative(kind: str, make_rig: MakeRig) -> None:
    rig = make_rig(kind, Constant(-2.0))
    rig.sensor.configure()
    rig.wait_ms(5)
    assert rig.sensor.read().power_w == pytest.approx(-2.0, abs=0.05)


def test_timed_reading_asks_for_no_flag(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", readiness="timed")
    rig.sensor.configure()
    rig.wait_ms(5)
    before = rig.bus.n_transfers
    assert rig.sensor.read().flags == 0
    assert rig.bus.n_transfers == before + 2


def test_several_chips_share_a_bus(make_rig: MakeRig) -> None:
    first, second = make_rig("ina226", Constant(2.0)), make_rig("ina219", Constant(4.0))
    bus = FakeBus({0x40: first.chip, 0x41: second.chip}, first.clock)
    wiring = second.sensor.wiring
    drivers = [
        type(first.sensor)(bus, first.sensor.wiring, InaSettings(3, 3)),
        type(second.sensor)(bus, Wiring(0x41, wiring.scope, wiring.shunt), second.sensor.settings),
    ]
    for driver in drivers:
        driver.configure()
    first.wait_ms(10)
    assert [round(driver.read().power_w, 1) for driver in drivers] == [2.0, 4.0]


def test_ina3221_sums_the_wanted_channels(make_rig: MakeRig) -> None:
    rig = make_rig("ina3221")
    rig.chip.loads = {channel: Load(Constant(float(channel))) for channel in (1, 2, 3)}
    wiring = Wiring(0x40, "board_5v_input", ShuntCalibration(0.01), channels=(1, 3))
    sensor = Ina3221(rig.bus, wiring, InaSettings(3, 3))
    sensor.configure()
    rig.wait_ms(10)
    assert sensor.read().power_w == pytest.approx(4.0, abs=2 * 5.0 * 0.004)


def test_ina228_counts_energy(make_rig: MakeRig) -> None:
    rig = make_rig("ina228", Constant(5.0))
    rig.sensor.configure()
    rig.wait_ms(5)
    first, start_ns = rig.sensor.read().energy_j, rig.clock.now_ns()
    rig.wait_ms(10_000)
    second = rig.sensor.read().energy_j
    elapsed_s = (rig.clock.now_ns() - start_ns) * 1e-9
    assert second - first == pytest.approx(5.0 * elapsed_s, abs=2 * 51.2 * 12 / 524288 + 5.0 * 2 * 560e-6)


def test_address_outside_the_chips_range_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig("ina3221")
    with pytest.raises(ValueError, match="cannot have address 0x48"):
        Ina3221(rig.bus, Wiring(0x48, "board_5v_input", ShuntCalibration(0.01)), InaSettings(3, 3))


def test_external_shunt_must_be_known(make_rig: MakeRig) -> None:
    rig = make_rig("ina226")
    with pytest.raises(ValueError, match="shunt of the chip at 0x40 is not known"):
        type(rig.sensor)(rig.bus, Wiring(0x40, "board_5v_input"), InaSettings(3, 3))


@pytest.mark.parametrize(
    ("nominal_ohm", "relative_limit", "correction"), [(0.0, 0.01, 1.0), (0.01, -1.0, 1.0), (0.01, 0.01, 10.0)]
)
def test_impossible_shunts_are_refused(nominal_ohm: float, relative_limit: float, correction: float) -> None:
    with pytest.raises(ValueError):
        ShuntCalibration(nominal_ohm, relative_limit, correction)


def test_shunt_correction_scales_the_current(make_rig: MakeRig) -> None:
    assert ShuntCalibration(0.01, correction=1.02).resistance_ohm == pytest.approx(0.0102)
