"""What happened to this process in every short segment of the timed part, looked at between two inferences."""

import ctypes
import os
import resource
from array import array
from typing import Any, Callable, Dict, List, NamedTuple

SEGMENT_NS = 50000000
"""Length of a segment: 20 looks of some 10 us each per second, 0.02 % of the time and none of it inside an inference."""

COLUMNS = ["n_done", "t_ns", "major_faults", "involuntary_switches", "cpu", "frequency_khz"]
"""One row per segment: samples done at its end, CLOCK_MONOTONIC, increases within it, core and frequency at its end."""

FREQUENCY = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"


class Usage(NamedTuple):
    """Counters of this process since it started (getrusage(2), /proc/self/task/*/schedstat)."""

    major_faults: int
    involuntary_switches: int
    voluntary_switches: int
    core_wait_ns: "int | None"


def read_usage() -> Usage:
    """The counters now; ``core_wait_ns`` is how long threads were ready to run without a core, None if unreadable."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(own.ru_majflt, own.ru_nivcsw, own.ru_nvcsw, _core_wait_ns())


def count_threads() -> int:
    """Threads of this process."""
    return len(os.listdir("/proc/self/task"))


def _core_wait_ns() -> "int | None":
    """Second field of schedstat (Documentation/scheduler/sched-stats.rst) over all threads of this process."""
    total = 0
    try:
        for name in os.listdir("/proc/self/task"):
            with open("/proc/self/task/{}/schedstat".format(name)) as handle:
                total += int(handle.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return total


class SegmentWatch:
    """Takes a row per segment. ``begin`` and ``look`` return when they want to be called next, in ns of the loop's clock."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._read_cpu = _cpu_reader()
        self._frequency_files = _open_frequencies()
        self._done = 0

    def begin(self, now_ns: int) -> int:
        """Start the first segment."""
        self._rows.extend(self._row(0, now_ns))
        return now_ns + SEGMENT_NS

    def look(self, n_done: int, now_ns: int) -> int:
        """End a segment and start the next one."""
        self._rows.extend(self._row(n_done, now_ns))
        return now_ns + SEGMENT_NS

    def close(self, n_done: int, now_ns: int) -> None:
        """End the last segment."""
        if n_done > self._done:
            self._rows.extend(self._row(n_done, now_ns))
        for descriptor in self._frequency_files.values():
            os.close(descriptor)
        self._frequency_files = {}

    def columns(self) -> "List[List[int]]":
        """The rows by column, in the order of COLUMNS; the first row is the state before the first sample."""
        width = len(COLUMNS)
        return [list(self._rows[i::width]) for i in range(width)]

    def _row(self, n_done: int, now_ns: int) -> "List[int]":
        before, after = self._usage, resource.getrusage(resource.RUSAGE_SELF)
        self._usage, self._done = after, n_done
        cpu = self._read_cpu()
        return [
            n_done,
            now_ns,
            after.ru_majflt - before.ru_majflt,
            after.ru_nivcsw - before.ru_nivcsw,
            cpu,
            self._frequency_khz(cpu),
        ]

    def _frequency_khz(self, cpu: int) -> int:
        """Frequency of the core in kHz, -1 where it can't be read."""
        descriptor = self._frequency_files.get(cpu)
        if descriptor is None:
            return -1
        try:
            return int(os.pread(descriptor, 32, 0))
        except (OSError, ValueError):
            return -1


def _cpu_reader() -> "Callable[[], int]":
    """A function that returns the core this thread is on, or -1 where the C library can't tell."""
    try:
        read: "Any" = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return lambda: -1
    return read  # type: ignore[no-any-return]


def _open_frequencies() -> "Dict[int, int]":
    found = {}
    for cpu in os.sched_getaffinity(0):
        try:
            found[cpu] = os.open(FREQUENCY.format(cpu), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # no cpufreq here, as on most virtual hosts
    return found
