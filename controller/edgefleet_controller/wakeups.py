"""Wakes requests that are held open; one waiting request costs a future and a timer, and no thread."""

import asyncio
import threading
from typing import Self


class Waiter:
    """One held request; remembers a wake-up that came before it began to wait. Use it as a context."""

    __slots__ = ("_future", "_is_woken", "_key", "_loop", "_wakeups")

    def __init__(self, wakeups: "Wakeups", key: str) -> None:
        self._wakeups, self._key = wakeups, key
        self._loop = asyncio.get_running_loop()
        self._is_woken = False
        self._future: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._wakeups.register(self._key, self)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._wakeups.forget(self._key, self)

    async def wait(self, timeout_s: float) -> bool:
        """True when woken, False after ``timeout_s`` seconds; each wake-up counts once."""
        if not self._is_woken:
            # an asyncio.Event under asyncio.timeout would do, at five times the memory
            self._future = self._loop.create_future()
            timer = self._loop.call_later(timeout_s, _finish, self._future)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        was_woken, self._is_woken = self._is_woken, False
        return was_woken

    def wake(self) -> None:
        """Wake it from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_woken = True
        if self._future is not None:
            _finish(self._future)


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class Wakeups:
    """Who waits for what, within this process. A key is a topic, or ``topic:name``."""

    def __init__(self) -> None:
        self._waiters: dict[str, dict[str, tuple[Waiter, ...]]] = {}
        self._lock = threading.Lock()
        self.is_closed = False

    def waiting_for(self, key: str) -> Waiter:
        """Register before looking into the store, so that a change between looking and waiting is not missed."""
        return Waiter(self, key)

    def notify(self, key: str) -> None:
        """Wake all who wait for this key."""
        for waiter in self._waiters.get(_topic_of(key), {}).get(key, ()):
            waiter.wake()

    @property
    def n_waiting(self) -> int:
        """For how many different things requests are held open now."""
        return sum(map(len, list(self._waiters.values())))

    def keys_of(self, topic: str) -> list[str]:
        """What of this topic is waited for now."""
        with self._lock:
            return list(self._waiters.get(topic, ()))

    def close(self) -> None:
        """Let every held request answer now, and hold none from now on: the server stops."""
        self.is_closed = True
        for topic in list(self._waiters):
            for key in self.keys_of(topic):
                self.notify(key)

    def register(self, key: str, waiter: Waiter) -> None:
        """It waits from now on."""
        with self._lock:
            waiters = self._waiters.setdefault(_topic_of(key), {})
            waiters[key] = (*waiters.get(key, ()), waiter)

    def forget(self, key: str, waiter: Waiter) -> None:
        """It waits no more."""
        with self._lock:
            waiters = self._waiters[_topic_of(key)]
            remaining = tuple(one for one in waiters[key] if one is not waiter)
            if remaining:
                waiters[key] = remaining
            else:
                del waiters[key]


def _topic_of(key: str) -> str:
    return key.partition(":")[0]
