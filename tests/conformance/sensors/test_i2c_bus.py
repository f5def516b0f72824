"""What every I2C bus does; the real adapter runs on smbus2 with its system calls replaced by a chip's wire bytes."""

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
import smbus2.smbus2 as smbus2_module

from edgefleet_agent.sensors.bus import I2CBus
from edgefleet_agent.sensors.errors import AddressClaimed, BusMissing, BusTimeout, PermissionDenied, SensorMissing
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.fake_ina import FakeIna
from edgefleet_agent.sensors.fake.faults import Fails
from edgefleet_agent.sensors.ina_facts import INA226
from edgefleet_agent.sensors.smbus_bus import SmbusBus

ADDRESS = 0x40
I2C_SLAVE, I2C_FUNCS, I2C_SMBUS = 0x0703, 0x0705, 0x0720


class Memory(FakeIna):
    """A chip of plain registers; wide ones hold as many bytes as are asked for."""

    facts = INA226

    def decode_config(self, word: int) -> Any:
        from edgefleet_agent.sensors.fake.fake_ina import Configuration
        from edgefleet_agent.sensors.ina_facts import InaSettings

        return Configuration(InaSettings(3, 3), (1,), False, False)

    def shunt_code(self, voltage_v: Any) -> Any:
        return 0

    def bus_code(self, voltage_v: Any) -> Any:
        return 0


class WireKernel:
    """Stands in for the kernel's i2c-dev: bytes on the wire are the register, most significant first."""

    def __init__(self, chip: Memory) -> None:
        self.chip = chip
        self.address = 0
        self.fails = 0

    def ioctl(self, descriptor: int, request: int, argument: Any) -> int:
        if request == I2C_SLAVE:
            if self.fails == errno.EBUSY:
                raise OSError(errno.EBUSY, "busy")
            self.address = argument
            return 0
        if request == I2C_FUNCS:
            return 0
        assert request == I2C_SMBUS
        if self.fails or self.address != ADDRESS:
            number = self.fails or errno.EREMOTEIO
            raise OSError(number, os.strerror(number))
        self._transfer(argument)
        return 0

    def _transfer(self, message: Any) -> None:
        data = message.data.contents
        is_block = message.size == 8
        if message.read_write == 1:
            n_bytes = data.block[0] if is_block else 2
            wire = self.chip.read(message.command, 0).to_bytes(n_bytes, "big")
            if is_block:
                ctypes.memmove(ctypes.addressof(data) + 1, wire, n_bytes)
            else:  # the kernel takes the first byte on the wire as the low one (SMBus 6.5.5)
                data.word = wire[0] | wire[1] << 8
        else:
            self.chip.write(message.command, (data.word & 0xFF) << 8 | data.word >> 8, 0)


class Case:
    """A bus, the registers behind it, and a way to make transfers fail."""

    def __init__(self, bus: I2CBus, chip: Memory, kernel: Any) -> None:
        self.bus, self.chip, self.kernel = bus, chip, kernel

    def fail_with(self, number: int) -> None:
        if self.kernel is not None:
            self.kernel.fails = number
        elif isinstance(self.bus, FakeBus):
            self.bus.faults = [Fails(number)]


@pytest.fixture(params=["fake", "smbus2"])
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    chip = Memory({}, 0.01)
    if request.param == "fake":
        yield Case(FakeBus({ADDRESS: chip}, VirtualClock(), number=7), chip, None)
        return
    kernel = WireKernel(chip)
    real_open = os.open
    monkeypatch.setattr(smbus2_module, "ioctl", kernel.ioctl)
    monkeypatch.setattr(os, "open", lambda path, flags, *rest: real_open(os.devnull, flags))
    bus = SmbusBus(7)
    yield Case(bus, chip, kernel)
    bus.close()


def test_words_are_most_significant_byte_first(case: Case) -> None:
    case.chip.registers[5] = 0x1234
    assert case.bus.read_word_be(ADDRESS, 5) == 0x1234


def test_written_word_arrives_as_written(case: Case) -> None:
    case.bus.write_word_be(ADDRESS, 5, 0xABCD)
    assert case.chip.registers[5] == 0xABCD


@pytest.mark.parametrize(("n_bytes", "value"), [(3, 0x123456), (5, 0x0123456789)])
def test_wide_registers_keep_their_order(n_bytes: int, value: int, case: Case) -> None:
    case.chip.registers[9] = value
    assert case.bus.read_block_be(ADDRESS, 9, n_bytes) == value


def test_free_address_is_a_missing_sensor(case: Case) -> None:
    with pytest.raises(SensorMissing, match="7-0041"):
        case.bus.read_word_be(0x41, 0)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.EBUSY, AddressClaimed), (errno.ETIMEDOUT, BusTimeout), (errno.EACCES, PermissionDenied)],
)
def test_failures_are_coded(number: int, error: type[Exception], case: Case) -> None:
    case.fail_with(number)
    for transfer in (
        lambda: case.bus.read_word_be(ADDRESS, 0),
        lambda: case.bus.read_block_be(ADDRESS, 0, 3),
        lambda: case.bus.write_word_be(ADDRESS, 0, 0),
    ):
        with pytest.raises(error):
            transfer()


def test_bus_names_itself(case: Case) -> None:
    assert case.bus.name == "i2c-7"


def test_absent_bus_says_how_to_enable_it() -> None:
    with pytest.raises(BusMissing, match="i2c_arm"):
        SmbusBus(97)
