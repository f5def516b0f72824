"""Refuses bodies that are too long while they arrive, whatever Content-Length says."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgefleet_controller.errors import BodyTooLarge
from edgefleet_controller.problems import problem_response

LINGER_BYTES: Final = 32 << 20
LINGER_S: Final = 5.0
"""How much of a refused body is read and dropped, and for how long: a connection that is closed with unread bytes is
reset, and the reset can overtake the answer (RFC 9112, section 9.6)."""


class BodyLimit:
    """ASGI middleware: ``default_bytes`` for every path but those of ``bytes_by_prefix`` (None: limited elsewhere)."""

    def __init__(self, app: ASGIApp, default_bytes: int, bytes_by_prefix: Mapping[str, int | None]) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._bytes_by_prefix = bytes_by_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a receive channel that counts."""
        limit = self._limit_of(scope["path"]) if scope["type"] == "http" else None
        if limit is None:
            await self._app(scope, receive, send)
            return
        error = BodyTooLarge(f"The request is longer than the {limit} bytes allowed here.")
        if _announced_length(scope) > limit:
            await _drop_rest(receive)
            await problem_response(Request(scope), error, Connection="close")(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                if message.get("more_body", False):
                    await _drop_rest(receive)
                raise error
            return message

        await self._app(scope, counted, send)

    def _limit_of(self, path: str) -> int | None:
        for prefix, limit in self._bytes_by_prefix.items():
            if path.startswith(prefix):
                return limit
        return self._default_bytes


async def _drop_rest(receive: Receive) -> None:
    async def drop() -> None:
        dropped = 0
        while dropped <= LINGER_BYTES:
            message = await receive()
            dropped += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return

    with suppress(TimeoutError):
        await asyncio.wait_for(drop(), LINGER_S)


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
