"""Gives every request an identifier, counts it, and lets the log lines written for it say what they are about."""

import logging
import re
import time
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from edgefleet_controller.auth.caller import current_caller
from edgefleet_controller.observability.metrics import REQUESTS

LOG = logging.getLogger("edgefleet_controller.access")
HEADER: Final = "X-Request-ID"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{8,64}")
"""A client may name its request; anything longer or stranger is replaced, because it would end up in logs."""

_UNMATCHED = "unmatched"
_PATH_FIELDS = ("job_id", "run_id", "device_id")
_scope: ContextVar[MutableMapping[str, Any] | None] = ContextVar("edgefleet_request", default=None)


def current_request_id() -> str | None:
    """The identifier of the request that is being served; None outside of requests."""
    scope = _scope.get()
    return None if scope is None else str(scope["edgefleet.request_id"])


def request_identifiers() -> Mapping[str, str]:
    """What a log line says of the request: its identifier, the job, run and device of its path, the device that asks."""
    scope = _scope.get()
    if scope is None:
        return {}
    found = {"request_id": str(scope["edgefleet.request_id"])}
    caller = current_caller()
    if caller is not None and caller.kind == "device":
        found["device_id"] = caller.name
    path = scope.get("path_params", {})
    return {**found, **{name: str(path[name]) for name in _PATH_FIELDS if name in path}}


class ObservedRequests:
    """ASGI middleware. ``logs_access``: a line for every request that has ended, at level INFO."""

    def __init__(self, app: ASGIApp, *, logs_access: bool) -> None:
        self._app = app
        self._logs_access = logs_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["edgefleet.request_id"] = _identifier(scope)
        _scope.set(
            scope
        )  # not reset: the handler of unexpected errors lies outside, and each request has its own context
        status, started_s = 500, time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            REQUESTS.labels(scope["method"] if route != _UNMATCHED else "*", route, str(status)).inc()
            if self._logs_access:
                took_ms = 1000 * (time.perf_counter() - started_s)
                LOG.info("%s %s %d in %.1f ms", scope["method"], route, status, took_ms)


def _identifier(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN.fullmatch(value):
            return str(value.decode())
    return f"req_{ULID()}"
