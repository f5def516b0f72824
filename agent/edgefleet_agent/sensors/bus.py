"""The I2C bus as the sensor drivers see it."""

import errno
from typing import Protocol

from edgefleet_agent.sensors.errors import (
    AddressClaimed,
    BusFault,
    BusMissing,
    BusTimeout,
    PermissionDenied,
    SensorError,
    SensorMissing,
)


class I2CBus(Protocol):
    """Register access, most significant byte first on the wire (INA219 SBOS448G 8.5.3, INA226 SBOS547B 7.5).

    Every method raises a ``SensorError`` when the transfer fails; ``bus_error`` gives the mapping.
    """

    @property
    def name(self) -> str:
        """The bus for messages, such as ``i2c-1``."""
        ...

    def read_word_be(self, address: int, register: int) -> int:
        """Return a 16-bit register as an unsigned number."""
        ...

    def write_word_be(self, address: int, register: int, value: int) -> None:
        """Write a 16-bit register."""
        ...

    def read_block_be(self, address: int, register: int, n_bytes: int) -> int:
        """Return a register of ``n_bytes`` bytes (INA228: 3 or 5) as an unsigned number."""
        ...

    def close(self) -> None:
        """Release the bus."""
        ...


_NO_ANSWER = frozenset({errno.ENXIO, errno.ENODEV, errno.EREMOTEIO})
"""What adapters report for an address that does not acknowledge (Linux Documentation/i2c/fault-codes.rst)."""


def bus_error(error: OSError, *, where: str) -> SensorError:
    """Return the coded error for an ``OSError`` of a transfer; the caller chains it with ``from``."""
    number = error.errno
    if number == errno.EBUSY:
        return AddressClaimed(sensor=where)
    if number in (errno.EACCES, errno.EPERM):
        return PermissionDenied(sensor=where)
    if number == errno.ENOENT:
        return BusMissing(sensor=where)
    if number == errno.ETIMEDOUT:
        return BusTimeout(sensor=where)
    if number in _NO_ANSWER:
        return SensorMissing(sensor=where)
    return BusFault("the transfer failed ({}); check the wiring and the pull-ups".format(error), sensor=where)


def chip_place(bus: I2CBus, address: int) -> str:
    """Return the kernel's name of an address, such as ``1-0040`` on bus i2c-1."""
    return "{}-{:04x}".format(bus.name.rsplit("-", 1)[-1], address)
