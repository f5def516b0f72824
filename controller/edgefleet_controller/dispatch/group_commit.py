"""Requests that arrive while a transaction runs share the next one: under load a commit, and its flush to disk, serves many."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from fastapi.concurrency import run_in_threadpool

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MAX_BATCH = 64


GATHER_S = 0.004
"""Under load a batch waits so long for those whose requests are just being read: one transaction instead of two."""


class GroupCommit(Generic[Item, Answer]):
    """Runs ``process`` in a thread on batches of items, one batch at a time.

    ``process`` answers every item, in order; an exception among the answers is raised for its item alone. A batch that
    raises as a whole is tried again item by item, so that one bad item spoils nothing for the others.
    """

    def __init__(self, process: Callable[[Sequence[Item]], Sequence[Answer | Exception]]) -> None:
        self._process = process
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """The item's answer, once its transaction has ended."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            n_before = 0
            while self._waiting:
                if n_before > 1:
                    await asyncio.sleep(GATHER_S)
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                n_before = len(batch)
                await self._answer(batch)
        finally:
            self._worker = None

    async def _answer(self, batch: Sequence[tuple[Item, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await run_in_threadpool(self._process, [item for item, _ in batch])
        except Exception as err:  # noqa: BLE001  # it is raised again where the request waits
            if len(batch) == 1:
                _resolve(batch[0][1], err)
                return
            for one in batch:
                await self._answer([one])
            return
        except BaseException as err:  # the process ends: nobody must wait for ever
            for _, future in batch:
                _resolve(future, err)
            if isinstance(err, asyncio.CancelledError):
                raise
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _resolve(future, answer)


def _resolve(future: "asyncio.Future[Answer]", answer: "Answer | BaseException") -> None:
    if future.done():  # the request has gone
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
