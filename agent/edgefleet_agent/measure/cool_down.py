"""Waiting until the board is cool, so that the heat of one run is not paid for by the next."""

from collections.abc import Callable
from typing import Optional

from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.report import Conditions

LOOK_S = 1.0
"""Thermal zones change by a degree in seconds, and looking costs next to nothing."""


def cool_down(
    settings: MeasureSettings,
    read_conditions: Callable[[], Conditions],
    clock: Clock,
    on_wait: Callable[[], None],
) -> Optional[JsonObject]:
    """Wait until the hottest thermal zone is at ``cool_down_c`` or below, or the time is over; None if not asked for.

    Returns target_c, reached_c (None without a readable zone: there is nothing to wait for), waited_s and reached.
    """
    if settings.cool_down_c is None:
        return None
    began_ns = clock.now_ns()
    while True:
        hottest = max(read_conditions().temperatures_c.values(), default=None)
        waited_s = (clock.now_ns() - began_ns) / 1e9
        reached = hottest is not None and hottest <= settings.cool_down_c
        if hottest is None or reached or waited_s >= settings.cool_down_timeout_s:
            return {
                "target_c": settings.cool_down_c,
                "reached_c": hottest,
                "waited_s": waited_s,
                "reached": reached,
            }
        on_wait()
        clock.sleep_until_ns(clock.now_ns() + int(LOOK_S * 1e9))
