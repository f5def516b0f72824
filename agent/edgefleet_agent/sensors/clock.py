"""Time as the sampler sees it: CLOCK_MONOTONIC, the same for all processes of a host."""

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock one can wait on."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        ...

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at or after ``deadline_ns``; at once if it is past."""
        ...


class MonotonicClock:
    """The host's clock."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC (CPython's ``time.monotonic`` on Linux)."""
        return time.monotonic_ns()

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Sleep for the rest of the time, if any."""
        remaining_ns = deadline_ns - time.monotonic_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns * 1e-9)
