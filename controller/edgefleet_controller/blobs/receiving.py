"""Receives an upload chunk by chunk, without holding a thread while the network is slow."""

from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.blobs.store import CHUNK_BYTES, BlobStore, BlobWriter
from edgefleet_controller.errors import BlobHashMismatch


async def receive_blob(store: BlobStore, sha256: str, chunks: AsyncIterator[bytes], max_bytes: int) -> BlobRef:
    """Store the body under its hash; a wrong hash, an oversize or a broken upload leaves nothing behind."""
    with store.writer(sha256, max_bytes) as writer:
        try:
            await _write_all(writer, chunks)
        except ClientDisconnect as err:
            raise BlobHashMismatch("The upload broke off; nothing was kept.") from err
        return await run_in_threadpool(writer.finish)


async def _write_all(writer: BlobWriter, chunks: AsyncIterator[bytes]) -> None:
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= CHUNK_BYTES:
            await run_in_threadpool(writer.write, bytes(pending))
            pending.clear()
    if pending:
        await run_in_threadpool(writer.write, bytes(pending))
