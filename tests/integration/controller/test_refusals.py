"""Guessing passwords and join tokens is slowed down by what all API processes have seen."""

import threading
from collections.abc import Iterator

import pytest

from edgefleet_controller.auth.refusals import RefusalLimit
from edgefleet_controller.clock import FakeClock
from edgefleet_controller.db.database import Database
from edgefleet_controller.errors import TooManyRequests


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The database's clock too, which stands still."""
    clock = FakeClock()
    monkeypatch.setattr("edgefleet_controller.auth.refusals.database_now", lambda _session: clock.now())
    return clock


@pytest.fixture
def processes(store_url: str, clock: FakeClock) -> Iterator[list[RefusalLimit]]:
    databases = [Database.from_url(store_url, clock) for _ in range(2)]
    yield [RefusalLimit(database, per_min=3) for database in databases]
    for database in databases:
        database.dispose()


def test_refusals_at_one_process_count_at_the_other(processes: list[RefusalLimit], clock: FakeClock) -> None:
    first, second = processes
    for limit in (first, second, first):
        second.require("address a", "user anna")
        limit.charge("address a", "user anna")
    for limit in processes:
        for keys in (["address a"], ["address b", "user anna"]):
            with pytest.raises(TooManyRequests) as caught:
                limit.require(*keys)
            assert caught.value.headers == {"Retry-After": "20"}
        limit.require("address b", "user bert")
    clock.advance(19.0)
    with pytest.raises(TooManyRequests):
        first.require("address a")
    clock.advance(1.0)
    second.require("address a")
    second.charge("address a")
    with pytest.raises(TooManyRequests):
        first.require("address a")
    clock.advance(3600.0)
    for _ in range(3):
        first.require("address a")
        first.charge("address a")
    with pytest.raises(TooManyRequests):
        first.require("address a")


def test_a_flood_locks_out_for_a_minute_at_most(processes: list[RefusalLimit], clock: FakeClock) -> None:
    for _ in range(20):
        processes[0].charge("address a")
    with pytest.raises(TooManyRequests) as caught:
        processes[0].require("address a")
    assert caught.value.headers == {"Retry-After": "20"}
    clock.advance(20.0)
    processes[1].require("address a")


def test_refusals_at_once_are_all_counted(processes: list[RefusalLimit]) -> None:
    threads = [threading.Thread(target=limit.charge, args=("a", "b")) for limit in (*processes, processes[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key in ("a", "b"):
        with pytest.raises(TooManyRequests):
            processes[1].require(key)
