"""The real I2C bus: /dev/i2c-N through smbus2."""

from typing import Any

from edgefleet_agent.sensors.bus import bus_error
from edgefleet_agent.sensors.errors import SensorUnusable


class SmbusBus:
    """I2C over smbus2. Never forces an address that a kernel driver holds."""

    def __init__(self, number: int) -> None:
        """Open /dev/i2c-``number``; raises a coded ``SensorError``."""
        self._number = number
        try:
            from smbus2 import SMBus
        except ImportError as error:
            raise SensorUnusable("smbus2 is not installed; pip install smbus2", sensor=self.name) from error
        try:
            self._bus: Any = SMBus(number)
        except OSError as error:
            raise bus_error(error, where=self.name) from error

    @property
    def name(self) -> str:
        """``i2c-N``."""
        return "i2c-{}".format(self._number)

    def read_word_be(self, address: int, register: int) -> int:
        """Return a 16-bit register; SMBus words are little endian, so the bytes are swapped."""
        try:
            return _swapped(self._bus.read_word_data(address, register))
        except OSError as error:
            raise bus_error(error, where=self._where(address)) from error

    def write_word_be(self, address: int, register: int, value: int) -> None:
        """Write a 16-bit register, most significant byte first."""
        try:
            self._bus.write_word_data(address, register, _swapped(value))
        except OSError as error:
            raise bus_error(error, where=self._where(address)) from error

    def read_block_be(self, address: int, register: int, n_bytes: int) -> int:
        """Return a wide register; an I2C block read keeps the order of the wire."""
        try:
            return int.from_bytes(bytes(self._bus.read_i2c_block_data(address, register, n_bytes)), "big")
        except OSError as error:
            raise bus_error(error, where=self._where(address)) from error

    def close(self) -> None:
        """Close the device node."""
        self._bus.close()

    def _where(self, address: int) -> str:
        return "{}-{:04x}".format(self._number, address)


def _swapped(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8
