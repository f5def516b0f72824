"""A controller inside this process that can be killed: its memory is gone, its store stays."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import anyio.to_thread
from fastapi import FastAPI
from tests.benchmarks.fleet_load.bench_app import AnyModel
from tests.benchmarks.fleet_load.crash_points import Crashed, CrashPoints
from tests.benchmarks.fleet_load.http_client import Answer

from edgefleet_controller.app import create_app
from edgefleet_controller.clock import FakeClock
from edgefleet_controller.engine.in_memory import InMemoryEngine
from edgefleet_controller.runs.news import NewsListener
from edgefleet_controller.services import Services
from edgefleet_controller.settings import Settings
from edgefleet_controller.sweeper import Sweeper

NEVER_S = 1e9
RECURRING = (
    "scan_interval_s",
    "heartbeat_flush_s",
    "aftermath_s",
    "presence_flush_s",
    "restart_queued_after_s",
    "gc_interval_s",
)
"""Intervals of the sweeper: here a schedule decides when its rounds come."""


@contextmanager
def without_threads() -> Iterator[None]:
    """What the app would hand to a thread runs in place: the same order of events every time, and no waiting."""

    async def run_in_place(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        return function(*arguments)

    in_place = mock.patch.object(anyio.to_thread, "run_sync", run_in_place)
    unheard = mock.patch.object(NewsListener, "start")  # a thread; there is no other process to hear of
    with in_place, unheard:
        yield


class AsgiProcess:
    """The product's app without a network; ``request`` raises Crashed when the armed crash point was reached.

    FastAPI builds its routes at their first use, a quarter of a second for all of them: so the first app answers for all
    later ones, each time over the services of a fresh one, which is where all memory of a process is.
    """

    _routes: FastAPI | None = None

    def __init__(self, data_dir: Path, database_url: str | None, clock: FakeClock, points: CrashPoints) -> None:
        self._settings = Settings(
            data_dir=data_dir,
            database_url=database_url,
            run_analyses=False,
            requests_burst=1e9,
            **dict.fromkeys(RECURRING, NEVER_S),  # type: ignore[arg-type]
        )
        self._clock = clock
        self._points = points
        self._runner = asyncio.Runner()
        self._lifespan: asyncio.Task[None] | None = None
        self._app: FastAPI | None = None

    @property
    def services(self) -> Services:
        """What the app works with since its last start."""
        assert self._app is not None, "it was killed and not started again"
        services: Services = self._app.state.services
        return services

    @property
    def sweeper(self) -> Sweeper:
        """The recurring work, one round at a time."""
        return Sweeper(self.services, self.services.desk.rules)

    @property
    def is_killed(self) -> bool:
        """Whether it waits for its next start."""
        return self._app is None

    def start(self) -> None:
        """Begin with empty memory over the store as it is."""
        self._points.revive()
        fresh = create_app(self._settings, engine=InMemoryEngine(), clock=self._clock, inspector=AnyModel())
        if AsgiProcess._routes is None:
            AsgiProcess._routes = fresh
        self._app, self._lifespan_app = AsgiProcess._routes, fresh
        self._app.state.services = fresh.state.services
        self._runner.run(self._start_lifespan())

    def kill(self) -> None:
        """End without any farewell."""
        self._points.die()
        self._runner.run(self._end_lifespan())
        self.services.database.dispose()
        self._app = None

    def close(self) -> None:
        """Kill it and release the event loop."""
        if self._app is not None:
            self.kill()
        self._runner.close()

    def request(
        self,
        method: str,
        path: str,
        token: str,
        body: object = None,
        content: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """One request and its answer; ``body`` is sent as JSON, ``content`` as it is."""
        content = content if body is None else json.dumps(body).encode()
        found = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]
        found += [(name.encode(), value.encode()) for name, value in headers.items()]
        found.append((b"content-length", str(len(content)).encode()))
        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": found,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        answer = self._runner.run(self._call(scope, content))
        if self._points.is_dead:  # the point lay behind the answer, or something swallowed it
            raise Crashed
        return answer

    async def _call(self, scope: dict[str, Any], content: bytes) -> Answer:
        assert self._app is not None
        messages: list[dict[str, Any]] = []
        pending = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if pending:
                return pending.pop()
            return await asyncio.Future()  # the client stays connected

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        await self._app(scope, receive, send)  # type: ignore[arg-type]
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Answer(messages[0]["status"], body)

    async def _start_lifespan(self) -> None:
        started, app = asyncio.Event(), self._lifespan_app
        pending = [{"type": "lifespan.startup"}]

        async def receive() -> dict[str, Any]:
            return pending.pop() if pending else await asyncio.Future()

        async def send(message: dict[str, Any]) -> None:
            assert message["type"] != "lifespan.startup.failed", message
            started.set()  # what it says when it is killed does not matter

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        await started.wait()

    async def _end_lifespan(self) -> None:
        if self._lifespan is not None:
            self._lifespan.cancel()
            with suppress(asyncio.CancelledError, Crashed, BaseExceptionGroup):
                await self._lifespan
            self._lifespan = None
