"""Receives an upload chunk by chunk, without holding a thread while the network is slow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.blobs.errors import BlobHashMismatch, UploadOffsetMismatch
from edgefleet_controller.blobs.quota import UploadLimit
from edgefleet_controller.blobs.store import CHUNK_BYTES, BlobStore, BlobWriter
from edgefleet_controller.errors import BodyTooLarge

SILENCE_S = 60.0
"""An upload of which nothing arrives for so long has broken off: a connection may end without either side being told, and
until its upload is given up nobody can go on with it."""


async def receive_blob(store: BlobStore, sha256: str, chunks: AsyncIterator[bytes], limit: UploadLimit) -> BlobRef:
    """Store the body under its hash; a wrong hash, an oversize or a broken upload leaves nothing behind."""
    with store.writer(sha256, limit.max_bytes) as writer:
        try:
            await _write_all(writer, chunks, limit)
        except ClientDisconnect as err:
            raise BlobHashMismatch("The upload broke off; nothing was kept.") from err
        return await run_in_threadpool(writer.finish)


@dataclass(frozen=True)
class Part:
    """A stretch of a file whose upload may break off: whose it is, and at which byte it begins."""

    sha256: str
    owner: str
    offset: int


async def receive_part(store: BlobStore, part: Part, chunks: AsyncIterator[bytes], limit: UploadLimit) -> int:
    """Add the body to the owner's unfinished upload; returns how much of it is there. What arrived is kept.

    UploadOffsetMismatch unless the part begins where the upload goes on.
    """
    async with _going_on(store, part, chunks, limit) as writer:
        return writer.received_bytes


async def receive_last_part(store: BlobStore, part: Part, chunks: AsyncIterator[bytes], limit: UploadLimit) -> BlobRef:
    """Add the body, verify and name the file; BlobHashMismatch, and nothing is kept, if it is another."""
    async with _going_on(store, part, chunks, limit) as writer:
        return await run_in_threadpool(writer.finish)


@asynccontextmanager
async def _going_on(
    store: BlobStore, part: Part, chunks: AsyncIterator[bytes], limit: UploadLimit
) -> AsyncIterator[BlobWriter]:
    with await run_in_threadpool(store.resumed_writer, part.sha256, part.owner, limit.max_bytes) as writer:
        _require_offset(writer, part.offset)
        try:
            await _write_all(writer, chunks, limit)
        except ClientDisconnect as err:
            raise UploadOffsetMismatch("The upload broke off; go on from where it ends.") from err
        yield writer


async def _while_they_come(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks; ClientDisconnect when none comes for ``SILENCE_S``."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as err:
            raise ClientDisconnect from err
        yield chunk


def _require_offset(writer: BlobWriter, offset: int) -> None:
    if writer.received_bytes != offset:
        raise UploadOffsetMismatch(
            f"{writer.received_bytes} bytes have arrived, so the upload goes on there and not at {offset}.",
            received_bytes=writer.received_bytes,
        )


async def _write_all(writer: BlobWriter, chunks: AsyncIterator[bytes], limit: UploadLimit) -> None:
    try:
        pending = bytearray()
        try:
            async for chunk in _while_they_come(chunks):
                pending += chunk
                if len(pending) >= CHUNK_BYTES:
                    await run_in_threadpool(writer.write, bytes(pending))
                    pending.clear()
        finally:  # also of an upload that breaks off: its next part begins after this
            if pending:
                await run_in_threadpool(writer.write, bytes(pending))
    except BodyTooLarge as err:
        raise limit.refusal() from err
