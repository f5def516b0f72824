"""Sends a content-addressed file: strong ETag, 304, ranges, and for ever cacheable."""

import re
from pathlib import Path

from fastapi import Request, Response, status
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from edgefleet_controller.blobs.errors import RangeRefused
from edgefleet_controller.blobs.store import CHUNK_BYTES

MEDIA_TYPE = "application/octet-stream"
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class BlobResponse(FileResponse):
    """Reads 1 MiB at a time: a third of the CPU that the default of 64 KiB costs."""

    chunk_size = CHUNK_BYTES


class WholeBlobResponse(BlobResponse):
    """The whole file, whatever range was asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it as if no range had been asked for."""
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


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
    facts = path.stat()
    may_range = request.headers.get("If-Range", etag) == etag
    kind = BlobResponse if may_range and _is_range(request.headers.get("Range"), facts.st_size) else WholeBlobResponse
    return kind(path, headers=headers, media_type=MEDIA_TYPE, stat_result=facts)


def _is_range(header: str | None, size_bytes: int) -> bool:
    """Whether this is one range that lies inside the file; RangeRefused if it lies outside."""
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None:
        return False
    first, last, suffix = match.groups()
    if first is not None and last and int(last) < int(first):
        return False
    if int(first) >= size_bytes if first is not None else int(suffix) == 0:
        raise RangeRefused(size_bytes)
    return True


def _has_it(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
