"""Wakes requests that are held open; one waiting request costs a future and no thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Waiter:
    """One held request; remembers a wake-up that came before it began to wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> bool:
        """True when woken, False after ``timeout_s`` seconds; each wake-up counts once."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def wake(self) -> None:
        """Wake it from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)


class Wakeups:
    """Who waits for what, within this process."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Waiter]] = {}
        self._lock = threading.Lock()
        self.is_closed = False

    @contextmanager
    def waiting_for(self, key: str) -> Iterator[Waiter]:
        """Register before looking into the store, so that a change between looking and waiting is not missed."""
        waiter = Waiter()
        with self._lock:
            self._waiters.setdefault(key, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._forget(key, waiter)

    def notify(self, key: str) -> None:
        """Wake all who wait for this key."""
        with self._lock:
            waiters = list(self._waiters.get(key, ()))
        for waiter in waiters:
            waiter.wake()

    @property
    def n_waiting(self) -> int:
        """For how many different things requests are held open now."""
        return len(self._waiters)

    def keys(self) -> set[str]:
        """What is waited for now."""
        with self._lock:
            return set(self._waiters)

    def close(self) -> None:
        """Let every held request answer now, and hold none from now on: the server stops."""
        self.is_closed = True
        for key in self.keys():
            self.notify(key)

    def _forget(self, key: str, waiter: Waiter) -> None:
        with self._lock:
            remaining = self._waiters[key]
            remaining.discard(waiter)
            if not remaining:
                del self._waiters[key]
