"""The preallocated sample store that the sampling process writes and its parent reads."""

from typing import Any, Union

from edgefleet_agent.sensors.power_sensor import Reading

Buffer = Union[bytearray, memoryview]

_HEADER_WORDS = 16
_COLUMNS = ("t_ns", "flags", "power_w", "voltage_v", "current_a", "energy_j")
_WORD_BYTES = 8
_CAPACITY, _WRITTEN, _STOP, _ATTEMPTS, _SKIPPED, _STALE, _STARTED, _ENDED, _SUSPENDED = range(9)

N_COLUMNS = len(_COLUMNS)
N_INTEGER_COLUMNS = 2


def ring_bytes(capacity: int) -> int:
    """Return the size of a store for ``capacity`` rows: 48 bytes each and a header."""
    return (_HEADER_WORDS + N_COLUMNS * capacity) * _WORD_BYTES


class SampleRing:
    """Rows of (time, flags, power, voltage, current, energy) in columns; the oldest are overwritten when full.

    One process writes rows and counters, another may set the stop mark. Every word is 8 bytes and aligned, so a
    reader never sees half a number; the row count is raised after the row is complete.
    """

    def __init__(self, buffer: Buffer, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring needs room for at least one row")
        words = memoryview(buffer).cast("B")[: ring_bytes(capacity)]
        self._head = words[: _HEADER_WORDS * _WORD_BYTES].cast("q")
        self._times, self._flags, *values = _columns(words, capacity)
        self._values = tuple(values)
        self.capacity = capacity
        self._head[_CAPACITY] = capacity

    def append(self, t_ns: int, reading: Reading) -> None:
        """Store one row."""
        written = self._head[_WRITTEN]
        row = written % self.capacity
        powers, voltages, currents, energies = self._values
        self._times[row] = t_ns
        self._flags[row] = reading.flags
        powers[row] = reading.power_w
        voltages[row] = reading.voltage_v
        currents[row] = reading.current_a
        energies[row] = reading.energy_j
        self._head[_WRITTEN] = written + 1

    @property
    def n_written(self) -> int:
        """Rows stored so far, overwritten ones included."""
        return self._head[_WRITTEN]

    @property
    def stop_requested(self) -> bool:
        """Whether the reader asked the writer to end."""
        return self._head[_STOP] != 0

    def request_stop(self) -> None:
        """Ask the writer to end."""
        self._head[_STOP] = 1

    def count_attempt(self, *, is_stale: bool, n_skipped: int) -> None:
        """Count one read, whether it found nothing new, and the deadlines it made impossible."""
        self._head[_ATTEMPTS] += 1
        self._head[_STALE] += is_stale
        self._head[_SKIPPED] += n_skipped

    def set_span(self, started_ns: int, ended_ns: int, *, suspended_ns: int) -> None:
        """Note when sampling began and ended, and how long the host slept in between."""
        self._head[_STARTED], self._head[_ENDED], self._head[_SUSPENDED] = started_ns, ended_ns, suspended_ns

    @property
    def counters(self) -> dict[str, int]:
        """Counts of the writer."""
        return {
            "n_written": self._head[_WRITTEN],
            "n_attempts": self._head[_ATTEMPTS],
            "n_skipped": self._head[_SKIPPED],
            "n_stale": self._head[_STALE],
            "started_ns": self._head[_STARTED],
            "ended_ns": self._head[_ENDED],
            "suspended_ns": self._head[_SUSPENDED],
        }

    def columns(self) -> dict[str, memoryview]:
        """Return the columns as they lie in memory (the oldest row need not be the first)."""
        return dict(zip(_COLUMNS, (self._times, self._flags, *self._values)))

    def release(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        for view in (self._head, self._times, self._flags, *self._values):
            view.release()


def _columns(words: memoryview, capacity: int) -> list[Any]:
    """Return the columns' views: two of 64-bit integers, the rest of doubles."""
    views: list[Any] = []
    for number in range(N_COLUMNS):
        start = (_HEADER_WORDS + number * capacity) * _WORD_BYTES
        column = words[start : start + capacity * _WORD_BYTES]
        views.append(column.cast("q") if number < N_INTEGER_COLUMNS else column.cast("d"))
    return views
