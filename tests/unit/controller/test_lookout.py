"""A look into the store is taken when something was written, or when the time has come that the look before named."""

import asyncio
from datetime import datetime, timedelta

import pytest

from edgefleet_controller.clock import FakeClock
from edgefleet_controller.lookout import Lookout

HOUR = timedelta(hours=1)


class Store:
    """A mark that the test changes, and looks that note what they saw."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mark = "1"
        self.n_looks = 0
        self.again_at: datetime | None = None
        self.fault: Exception | None = None
        self.lookout = Lookout(self.read_mark, [self.look], self.clock)

    def read_mark(self) -> str:
        if self.mark == "":
            raise ConnectionError("the store is away")
        return self.mark

    def look(self) -> datetime | None:
        self.n_looks += 1
        if self.fault is not None:
            raise self.fault
        return self.again_at

    async def go_round(self) -> int:
        """One round; how many looks have been taken by then."""
        for look, mark in await self.lookout.due():
            await look.take(mark)
        return self.n_looks


def test_nothing_is_looked_at_again_while_nobody_writes() -> None:
    async def scenario() -> list[int]:
        store = Store()
        rounds = [await store.go_round(), await store.go_round()]
        store.clock.advance(86400)
        return [*rounds, await store.go_round()]

    assert asyncio.run(scenario()) == [1, 1, 1]


def test_every_write_is_followed_by_a_look() -> None:
    async def scenario() -> list[int]:
        store = Store()
        rounds = [await store.go_round()]
        for mark in ("2", "3"):
            store.mark = mark
            rounds.append(await store.go_round())
        return rounds

    assert asyncio.run(scenario()) == [1, 2, 3]


def test_what_falls_due_is_looked_at_though_nobody_writes() -> None:
    async def scenario() -> list[int]:
        store = Store()
        store.again_at = store.clock.now() + HOUR
        rounds = [await store.go_round()]
        store.clock.advance(3599)
        rounds.append(await store.go_round())
        store.clock.advance(1)
        return [*rounds, await store.go_round()]

    assert asyncio.run(scenario()) == [1, 1, 2]


def test_what_is_written_during_a_look_is_looked_at_in_the_next_round() -> None:
    async def scenario() -> list[int]:
        store = Store()
        ((look, mark),) = await store.lookout.due()
        store.mark = "2"  # the look has begun, and may not see it
        await look.take(mark)
        return [store.n_looks, await store.go_round()]

    assert asyncio.run(scenario()) == [1, 2]


def test_a_failed_look_is_taken_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[int]:
        store = Store()
        store.fault = ValueError("locked")
        rounds = [await store.go_round()]
        store.fault = None
        return [*rounds, await store.go_round(), await store.go_round()]

    assert asyncio.run(scenario()) == [1, 2, 2]
    assert "look failed" in caplog.text


def test_a_store_that_cannot_be_reached_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[int]:
        store = Store()
        mark, store.mark = store.mark, ""
        rounds = [await store.go_round()]
        store.mark = mark
        return [*rounds, await store.go_round()]

    assert asyncio.run(scenario()) == [0, 1]
    assert "the store is away" in caplog.text
