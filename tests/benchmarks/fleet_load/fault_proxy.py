"""A bad network between agent and controller: a proxy that loses, delays and repeats requests."""

import asyncio
import random
import threading
from collections.abc import Callable
from enum import StrEnum

_TIMEOUT_S = 90.0


class NetworkFault(StrEnum):
    """What may happen to a request."""

    LOSE_REQUEST = "lose_request"
    LOSE_ANSWER = "lose_answer"
    DELAY = "delay"
    REPEAT = "repeat"


class FaultProxy:
    """Passes HTTP/1.1 requests on, one connection each; runs in a thread of its own.

    While ``faults`` is not empty, every third request or so meets one of them.
    """

    def __init__(self, target_port: Callable[[], int], seed: int) -> None:
        self.faults: tuple[NetworkFault, ...] = ()
        self.n_faults = 0
        self.port = 0
        self._target_port = target_port
        self._rng = random.Random(seed)
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fault-proxy", daemon=True)

    def start(self) -> None:
        """Listen on a free port of loopback."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 24))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        server.close()
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length_of(head))
                answer = await self._pass_on(_closing(head) + body)
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # a broken connection is what this is for; the agent sees it end
        finally:
            writer.close()

    async def _pass_on(self, request: bytes) -> bytes | None:
        fault = self._rng.choice(self.faults) if self.faults and self._rng.random() < 0.35 else None
        self.n_faults += fault is not None
        if fault is NetworkFault.LOSE_REQUEST:
            return None
        if fault is NetworkFault.DELAY:
            await asyncio.sleep(self._rng.uniform(0.2, 2.0))
        answer = await self._ask(request)
        if fault is NetworkFault.REPEAT:
            answer = await self._ask(request)
        return None if fault is NetworkFault.LOSE_ANSWER else answer

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port(), limit=1 << 24)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read(-1)
        finally:
            writer.close()


def _length_of(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def _closing(head: bytes) -> bytes:
    """The head with ``Connection: close``, so that the end of the answer is the end of the connection."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"
