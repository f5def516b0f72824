"""Waiting for a cool board, in virtual time."""

from collections.abc import Callable

from edgefleet_agent.measure.cool_down import cool_down
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.report import Conditions

SETTINGS = MeasureSettings(cool_down_c=50.0, cool_down_timeout_s=60.0)


def cooling_from(start_c: float, per_s: float, clock: VirtualClock) -> Callable[[], Conditions]:
    def read() -> Conditions:
        return Conditions(temperatures_c={"cpu": start_c - per_s * clock.now_ns() / 1e9, "gpu": 30.0}, monotonic_ns=0)

    return read


def test_ends_as_soon_as_the_hottest_zone_is_cool() -> None:
    clock, waits = VirtualClock(), []
    done = cool_down(SETTINGS, cooling_from(60.0, 1.0, clock), clock, lambda: waits.append(1))
    assert done == {"target_c": 50.0, "reached_c": 50.0, "waited_s": 10.0, "reached": True}
    assert len(waits) == 10


def test_gives_up_after_the_timeout_and_says_so() -> None:
    clock = VirtualClock()
    done = cool_down(SETTINGS, cooling_from(60.0, 0.0, clock), clock, lambda: None)
    assert done == {"target_c": 50.0, "reached_c": 60.0, "waited_s": 60.0, "reached": False}


def test_board_without_a_thermal_zone_does_not_wait_and_is_not_cool() -> None:
    clock = VirtualClock()
    done = cool_down(SETTINGS, lambda: Conditions(monotonic_ns=0), clock, lambda: None)
    assert done == {"target_c": 50.0, "reached_c": None, "waited_s": 0.0, "reached": False}


def test_nothing_happens_unless_asked_for() -> None:
    assert cool_down(MeasureSettings(), lambda: Conditions(monotonic_ns=0), VirtualClock(), lambda: None) is None
