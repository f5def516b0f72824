"""Wake-ups and presence."""

import asyncio
import threading
from datetime import UTC, datetime

from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.wakeups import Wakeups

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_wake_up_before_the_wait_is_not_lost() -> None:
    async def scenario() -> bool:
        wakeups = Wakeups()
        with wakeups.waiting_for("k") as waiter:
            wakeups.notify("k")
            return await waiter.wait(30)

    assert asyncio.run(scenario()) is True


def test_a_wake_up_counts_once() -> None:
    async def scenario() -> list[bool]:
        wakeups = Wakeups()
        with wakeups.waiting_for("k") as waiter:
            wakeups.notify("k")
            return [await waiter.wait(30), await waiter.wait(0)]

    assert asyncio.run(scenario()) == [True, False]


def test_another_thread_may_wake() -> None:
    async def scenario() -> bool:
        wakeups = Wakeups()
        with wakeups.waiting_for("k") as waiter:
            threading.Thread(target=wakeups.notify, args=("k",)).start()
            return await waiter.wait(30)

    assert asyncio.run(scenario()) is True


def test_only_those_who_wait_for_the_key_are_woken() -> None:
    async def scenario() -> bool:
        wakeups = Wakeups()
        with wakeups.waiting_for("a") as waiter:
            wakeups.notify("b")
            return await waiter.wait(0)

    assert asyncio.run(scenario()) is False


def test_nothing_is_kept_of_those_who_left() -> None:
    async def scenario() -> int:
        wakeups = Wakeups()
        with wakeups.waiting_for("k"), wakeups.waiting_for("k"):
            pass
        return wakeups.n_waiting

    assert asyncio.run(scenario()) == 0


def test_closing_wakes_everyone() -> None:
    async def scenario() -> list[bool]:
        wakeups = Wakeups()
        with wakeups.waiting_for("a") as first, wakeups.waiting_for("b") as second:
            wakeups.close()
            return [await first.wait(30), await second.wait(30), wakeups.is_closed]

    assert asyncio.run(scenario()) == [True, True, True]


def test_sightings_are_handed_over_for_storing_once() -> None:
    presence = Presence()
    presence.touch("dev_1", NOON)
    assert presence.take_unsaved() == {"dev_1": NOON}
    assert presence.take_unsaved() == {}


def test_sightings_that_could_not_be_stored_are_handed_over_again() -> None:
    presence = Presence()
    presence.touch("dev_1", NOON)
    presence.put_back(set(presence.take_unsaved()))
    assert presence.take_unsaved() == {"dev_1": NOON}
