"""Sends a content-addressed file: strong ETag, 304, ranges, and for ever cacheable."""

from pathlib import Path

from fastapi import Request, Response, status
from fastapi.responses import FileResponse

from edgefleet_controller.blobs.store import CHUNK_BYTES

MEDIA_TYPE = "application/octet-stream"


class BlobResponse(FileResponse):
    """Reads 1 MiB at a time: a third of the CPU that the default of 64 KiB costs."""

    chunk_size = CHUNK_BYTES


def blob_etag(sha256: str) -> str:
    """The entity tag of a file."""
    return f'"sha256:{sha256}"'


def send_blob(request: Request, sha256: str, path: Path) -> Response:
    """The file, a part of it, or 304 when the client has it."""
    headers = {
        "ETag": blob_etag(sha256),
        "Cache-Control": "private, immutable, max-age=31536000",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
    }
    if _has_it(request.headers.get("If-None-Match"), sha256):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return BlobResponse(path, headers=headers, media_type=MEDIA_TYPE, stat_result=path.stat())


def _has_it(if_none_match: str | None, sha256: str) -> bool:
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or blob_etag(sha256) in tags
