"""What goes wrong on an I2C bus. A fault looks at a transfer before it starts and may change what was read."""

import errno
import os
from dataclasses import dataclass
from typing import NamedTuple, Optional, Protocol


class Transfer(NamedTuple):
    """One transfer on the bus; ``number`` counts from zero."""

    number: int
    address: int
    register: int
    now_ns: int


class Fault(Protocol):
    """A fault of the bus or of a chip."""

    def delay_ns(self, transfer: Transfer) -> int:
        """Return how much longer the transfer takes."""
        ...

    def check(self, transfer: Transfer) -> None:
        """Raise the ``OSError`` the kernel would give."""
        ...

    def alter(self, transfer: Transfer, value: int, n_bytes: int) -> int:
        """Return the value the host sees."""
        ...


class _Harmless:
    def delay_ns(self, transfer: Transfer) -> int:  # noqa: ARG002
        """Return no delay."""
        return 0

    def check(self, transfer: Transfer) -> None:
        """Let the transfer pass."""

    def alter(self, transfer: Transfer, value: int, n_bytes: int) -> int:  # noqa: ARG002
        """Return the value as it is."""
        return value


@dataclass(frozen=True)
class Fails(_Harmless):
    """Every ``every``-th transfer between two times ends with an error number, such as EREMOTEIO for a NACK."""

    number: int = errno.EREMOTEIO
    every: int = 1
    from_ns: int = 0
    until_ns: Optional[int] = None

    def check(self, transfer: Transfer) -> None:
        """Raise when it is this transfer's turn."""
        over = self.until_ns is not None and transfer.now_ns >= self.until_ns
        if transfer.now_ns >= self.from_ns and not over and (transfer.number + 1) % self.every == 0:
            raise OSError(self.number, os.strerror(self.number))


@dataclass(frozen=True)
class Hangs(_Harmless):
    """Every ``every``-th transfer holds the bus until the chip's SMBus timeout (28 to 35 ms) and fails."""

    every: int
    timeout_ns: int = 35_000_000

    def delay_ns(self, transfer: Transfer) -> int:
        """Return the timeout when it is this transfer's turn."""
        return self.timeout_ns if (transfer.number + 1) % self.every == 0 else 0

    def check(self, transfer: Transfer) -> None:
        """Raise ETIMEDOUT when it is this transfer's turn."""
        if (transfer.number + 1) % self.every == 0:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


@dataclass(frozen=True)
class Stretches(_Harmless):
    """Clock stretching: transfers take these extra times, in turn."""

    delays_ns: tuple[int, ...]

    def delay_ns(self, transfer: Transfer) -> int:
        """Return this transfer's extra time."""
        return self.delays_ns[transfer.number % len(self.delays_ns)]


@dataclass(frozen=True)
class Sticks(_Harmless):
    """A register reads the same value from a time on."""

    register: int
    value: int
    from_ns: int = 0

    def alter(self, transfer: Transfer, value: int, n_bytes: int) -> int:  # noqa: ARG002
        """Return the stuck value."""
        stuck = transfer.register == self.register and transfer.now_ns >= self.from_ns
        return self.value if stuck else value


@dataclass(frozen=True)
class FlipsBit(_Harmless):
    """One bit of a register is inverted in every ``every``-th transfer."""

    register: int
    bit: int
    every: int = 1

    def alter(self, transfer: Transfer, value: int, n_bytes: int) -> int:  # noqa: ARG002
        """Return the value with the bit inverted."""
        hit = transfer.register == self.register and (transfer.number + 1) % self.every == 0
        return value ^ 1 << self.bit if hit else value


@dataclass(frozen=True)
class SwapsBytes(_Harmless):
    """Every read comes with its bytes in the wrong order, as from an adapter that forgets SMBus's order."""

    def alter(self, transfer: Transfer, value: int, n_bytes: int) -> int:  # noqa: ARG002
        """Return the bytes in reverse."""
        return int.from_bytes(value.to_bytes(n_bytes, "big"), "little")
