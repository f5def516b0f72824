"""The sampling loop: absolute deadlines, stamps in the middle of the transaction, nothing allocated but the reading."""

import math
import time
from typing import Callable

from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.errors import BusTimeout, SensorError, SensorReset
from edgefleet_agent.sensors.power_sensor import FAILED, STALE, TIMED_OUT, VERIFIED, WAS_RESET, PowerSensor, Reading
from edgefleet_agent.sensors.ring import SampleRing

VERIFY_EVERY_NS = 1_000_000_000
"""The configuration is read back this often, and at the end."""

_FAILED_READING = Reading(math.nan, flags=FAILED)
_TIMED_OUT_READING = Reading(math.nan, flags=FAILED | TIMED_OUT)
_VERIFIED_READING = Reading(math.nan, flags=VERIFIED)
_RESET_READING = Reading(math.nan, flags=WAS_RESET)


def sample(
    sensor: PowerSensor, ring: SampleRing, clock: Clock, *, period_ns: int, should_stop: Callable[[], bool]
) -> None:
    """Fill ``ring`` until ``should_stop``. Deadlines that passed are skipped and counted, never caught up in a burst.

    A failed transfer becomes a row with the flag FAILED; the loop goes on.
    """
    started_ns = deadline_ns = clock.now_ns()
    asleep_ns = suspended_ns()
    next_check_ns = started_ns + VERIFY_EVERY_NS
    while not should_stop():
        clock.sleep_until_ns(deadline_ns)
        before_ns = clock.now_ns()
        reading = _read(sensor)
        after_ns = clock.now_ns()
        is_stale = bool(reading.flags & STALE)
        if not is_stale:
            ring.append((before_ns + after_ns) // 2, reading)
        deadline_ns += period_ns
        n_skipped = max(after_ns - deadline_ns, 0) // period_ns
        deadline_ns += n_skipped * period_ns
        ring.count_attempt(is_stale=is_stale, n_skipped=n_skipped)
        if after_ns >= next_check_ns:
            next_check_ns = after_ns + VERIFY_EVERY_NS
            ring.append(after_ns, _verify(sensor))
    ring.append(clock.now_ns(), _verify(sensor))
    ring.set_span(started_ns, clock.now_ns(), suspended_ns=suspended_ns() - asleep_ns)


def suspended_ns() -> int:
    """Return how long the host was suspended since boot: CLOCK_BOOTTIME counts that, CLOCK_MONOTONIC does not."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


def _read(sensor: PowerSensor) -> Reading:
    try:
        return sensor.read()
    except BusTimeout:
        return _TIMED_OUT_READING
    except SensorError:
        return _FAILED_READING


def _verify(sensor: PowerSensor) -> Reading:
    try:
        sensor.verify()
    except SensorReset:
        return _RESET_READING
    except BusTimeout:
        return _TIMED_OUT_READING
    except SensorError:
        return _FAILED_READING
    return _VERIFIED_READING
