"""Sends a content-addressed file: strong ETag, 304, ranges, and for ever cacheable."""

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi import Request, Response, status
from fastapi.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from edgefleet_controller.blobs.errors import RangeRefused
from edgefleet_controller.blobs.store import CHUNK_BYTES

MEDIA_TYPE = "application/octet-stream"
_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
"""Linux: read what is in the page cache, and fail where that is not all (preadv2(2))."""
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class BlobResponse(Response):
    """A file, or a span of it, 1 MiB at a time.

    What the host has in its page cache is read where the request is served: handing each piece over from a thread costs
    as much as reading it. Only what has to come from a disk is waited for in a thread.
    """

    def __init__(self, path: Path, size_bytes: int, span: range | None, headers: Mapping[str, str]) -> None:
        self._path, self._span = path, span if span is not None else range(size_bytes)
        said = {**headers, "Content-Length": str(len(self._span))}
        if span is not None:
            said["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size_bytes}"
        code = status.HTTP_200_OK if span is None else status.HTTP_206_PARTIAL_CONTENT
        super().__init__(status_code=code, headers=said, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; stops when the client hangs up."""
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        file = await run_in_threadpool(os.open, self._path, os.O_RDONLY)
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_span(file, send, gone)
        finally:
            gone.cancel()
            os.close(file)

    async def _send_span(self, file: int, send: Send, gone: "asyncio.Future[None]") -> None:
        offset, end = self._span.start, self._span.stop
        while True:
            piece = await _read(file, min(CHUNK_BYTES, end - offset), offset)
            offset += len(piece)
            is_last = offset == end or not piece
            await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
            if is_last or gone.done():
                return
            await asyncio.sleep(0)  # a fast client must not keep everybody else waiting


async def _read(file: int, n_bytes: int, offset: int) -> bytes:
    if n_bytes > 0 and _is_cached(file, offset + n_bytes - 1):
        return os.pread(file, n_bytes, offset)
    return await run_in_threadpool(os.pread, file, n_bytes, offset)


def _is_cached(file: int, offset: int) -> bool:
    """Whether the byte can be read without waiting for a disk; the bytes before it are then there too, as a rule."""
    if _NO_WAIT is None:
        return False
    try:
        return os.preadv(file, [bytearray(1)], offset, _NO_WAIT) == 1
    except OSError:  # it is not there, or the file system cannot tell
        return False


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def blob_etag(sha256: str) -> str:
    """The entity tag of a file."""
    return f'"sha256:{sha256}"'


def send_blob(request: Request, sha256: str, path: Path) -> Response:
    """The file, a part of it, or 304 when the client has it; RangeRefused for a part that lies outside.

    A malformed or multiple range is ignored, as RFC 9110, section 14.2 allows.
    """
    etag = blob_etag(sha256)
    headers = {
        "ETag": etag,
        "Cache-Control": "private, immutable, max-age=31536000",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
    }
    if _has_it(request.headers.get("If-None-Match"), etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    size_bytes = path.stat().st_size
    may_range = request.headers.get("If-Range", etag) == etag
    span = _span_of(request.headers.get("Range"), size_bytes) if may_range else None
    return BlobResponse(path, size_bytes, span, headers)


def _span_of(header: str | None, size_bytes: int) -> range | None:
    """The one range of the file that is asked for; None: all of it. RangeRefused if it lies outside."""
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if first is None:
        if int(suffix) == 0:
            raise RangeRefused(size_bytes)
        return range(max(0, size_bytes - int(suffix)), size_bytes)
    if last and int(last) < int(first):
        return None
    if int(first) >= size_bytes:
        raise RangeRefused(size_bytes)
    return range(int(first), min(int(last) + 1, size_bytes) if last else size_bytes)


def _has_it(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
