"""Requests that share a transaction."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from edgefleet_controller.dispatch.group_commit import GroupCommit


class Ledger:
    """Doubles numbers, and remembers in which batches they came; refuses 13, breaks down at batches with 99."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def write(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        assert self.may_go_on.wait(timeout=30)
        if 99 in items:
            raise RuntimeError("the transaction failed")
        return [ValueError(f"{item} is refused") if item == 13 else 2 * item for item in items]


def test_requests_of_one_moment_share_a_batch_and_each_gets_its_own_answer() -> None:
    ledger = Ledger()

    async def main() -> list[int | BaseException]:
        commit = GroupCommit(ledger.write)
        return await asyncio.gather(*(commit.submit(item) for item in (1, 13, 3)), return_exceptions=True)

    first, refused, last = asyncio.run(main())

    assert ledger.batches == [[1, 13, 3]]
    assert (first, last) == (2, 6)
    assert isinstance(refused, ValueError)


def test_a_batch_that_fails_as_a_whole_is_tried_item_by_item() -> None:
    ledger = Ledger()

    async def main() -> list[int | BaseException]:
        commit = GroupCommit(ledger.write)
        return await asyncio.gather(*(commit.submit(item) for item in (1, 99)), return_exceptions=True)

    sound, broken = asyncio.run(main())

    assert ledger.batches == [[1, 99], [1], [99]]
    assert sound == 2
    assert isinstance(broken, RuntimeError)


def test_under_load_a_batch_waits_for_the_requests_that_the_one_before_set_free() -> None:
    ledger = Ledger()

    async def ask_twice(commit: GroupCommit[int, int], item: int) -> int:
        await commit.submit(item)
        return await commit.submit(item + 10)

    async def main() -> None:
        commit = GroupCommit(ledger.write)
        ledger.may_go_on.clear()
        first = [asyncio.create_task(ask_twice(commit, item)) for item in (1, 2)]
        while not ledger.batches:
            await asyncio.sleep(0)
        late = asyncio.create_task(commit.submit(3))
        await asyncio.sleep(0)
        ledger.may_go_on.set()
        await asyncio.gather(late, *first)

    asyncio.run(main())

    assert ledger.batches == [[1, 2], [3, 11, 12]]


def test_whoever_waits_hears_of_the_end_of_the_process() -> None:
    def end(items: Sequence[int]) -> list[int | Exception]:
        raise KeyboardInterrupt

    async def main() -> None:
        await GroupCommit(end).submit(1)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
