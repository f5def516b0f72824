"""A small HTTP/1.1 client on raw asyncio streams: thousands of kept-alive connections at little cost."""

import asyncio
import json
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """Status and body of a response."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class RequestFailed(Exception):
    """The server answered something else than the bench expects."""


def encode_request(method: str, path: str, token: str | None = None, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body and "content_type" not in headers:
        lines.append("Content-Type: application/json")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One kept-alive connection; opened at the first request and again after the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect now."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)

    async def send(self, request: bytes) -> None:
        """Send a request without waiting for its answer."""
        if self._writer is None:
            await self.open()
        assert self._writer is not None
        self._writer.write(request)
        await self._writer.drain()

    async def receive(self) -> Answer:
        """The next answer."""
        assert self._reader is not None
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        body = await self._reader.readexactly(length) if length else b""
        if b"connection: close" in lines:
            self.close()
        return Answer(int(head[9:12]), body)

    async def request(self, request: bytes) -> Answer:
        """Send a request and return its answer."""
        await self.send(request)
        return await self.receive()

    async def expect(self, request: bytes, *statuses: int) -> Answer:
        """The same; RequestFailed unless the status is one of these."""
        answer = await self.request(request)
        if answer.status not in statuses:
            what = request.split(b"\r\n", 1)[0].decode()
            raise RequestFailed(f"{what}: {answer.status} {answer.body[:500]!r}, expected {statuses}")
        return answer

    def close(self) -> None:
        """Drop the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
