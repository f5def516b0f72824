"""Looks into the store again and again, but only where something was written, or falls due, since the look before."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.clock import Clock

LOG = logging.getLogger(__name__)

Work = Callable[[], datetime | None]
"""One look; returns when to look again though nobody writes, None: only then."""


class Look:
    """A look and when it is due."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._seen: str | None = None
        self._again_at: datetime | None = None
        self._is_running = False

    def is_due(self, mark: str, now: datetime) -> bool:
        """Whether the store has another mark than at the last look, or the time that it named has come."""
        if self._is_running:
            return False
        return mark != self._seen or (self._again_at is not None and now >= self._again_at)

    async def take(self, mark: str) -> None:
        """Look, in a thread. ``mark`` was read before, so that what is written meanwhile is looked at next time.

        A look that fails is logged, and due again at once.
        """
        self._is_running = True
        try:
            self._again_at = await run_in_threadpool(self._work)
            self._seen = mark
        except Exception:  # one failed look must not end all later ones
            self._seen = None
            LOG.exception("%s failed; it is tried again", getattr(self._work, "__name__", self._work))
        finally:
            self._is_running = False


class Lookout:
    """Asks for the store's mark at every interval, and takes the looks that are due, beside each other."""

    def __init__(self, read_mark: Callable[[], str], works: Sequence[Work], clock: Clock) -> None:
        self._read_mark, self._clock = read_mark, clock
        self._looks = [Look(work) for work in works]

    async def run(self, interval_s: float) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(interval_s)
                for look, mark in await self.due():
                    tasks.create_task(look.take(mark))

    async def due(self) -> list[tuple[Look, str]]:
        """The looks that are due, with the mark to take them with; none while the store cannot be reached."""
        try:
            mark = await run_in_threadpool(self._read_mark)
        except Exception:
            LOG.exception("the store cannot be reached; it is tried again")
            return []
        now = self._clock.now()
        return [(look, mark) for look in self._looks if look.is_due(mark, now)]
