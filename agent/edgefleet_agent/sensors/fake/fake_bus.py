import errno
import os
from collections.abc import Mapping, Sequence

from edgefleet_agent.sensors.bus import bus_error
from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.fake.fake_ina import FakeIna
from edgefleet_agent.sensors.fake.faults import Fault, Transfer


class FakeBus:
    """An I2C bus with fake chips. Every transfer takes ``transfer_ns`` of the clock (which really waits, if real)."""

    def __init__(
        self,
        chips: Mapping[int, FakeIna],
        clock: Clock,
        *,
        number: int = 1,
        transfer_ns: int = 120_000,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.chips = chips
        self.clock = clock
        self.transfer_ns = transfer_ns
        self.faults = list(faults)
        self.n_transfers = 0
        self._number = number

    @property
    def name(self) -> str:
        """``i2c-N``."""
        return "i2c-{}".format(self._number)

    def read_word_be(self, address: int, register: int) -> int:
        """Return a 16-bit register."""
        return self.read_block_be(address, register, 2)

    def read_block_be(self, address: int, register: int, n_bytes: int) -> int:
        """Return a register of ``n_bytes`` bytes."""
        transfer, chip = self._transfer(address, register)
        value = chip.read(register, transfer.now_ns) & (1 << 8 * n_bytes) - 1
        for fault in self.faults:
            value = fault.alter(transfer, value, n_bytes)
        return value

    def write_word_be(self, address: int, register: int, value: int) -> None:
        """Write a 16-bit register."""
        transfer, chip = self._transfer(address, register)
        chip.write(register, value, transfer.now_ns)

    def close(self) -> None:
        """Do nothing; a fake bus holds no device node."""

    def _transfer(self, address: int, register: int) -> tuple[Transfer, FakeIna]:
        started_ns = self.clock.now_ns()
        transfer = Transfer(self.n_transfers, address, register, started_ns + self.transfer_ns // 2)
        self.n_transfers += 1
        extra_ns = sum(fault.delay_ns(transfer) for fault in self.faults)
        self.clock.sleep_until_ns(started_ns + self.transfer_ns + extra_ns)
        try:
            for fault in self.faults:
                fault.check(transfer)
            if address not in self.chips:
                raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        except OSError as error:
            raise bus_error(error, where="{}-{:04x}".format(self._number, address)) from error
        return transfer, self.chips[address]
