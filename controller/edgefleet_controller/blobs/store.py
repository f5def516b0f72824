"""Content-addressed files: the name is the SHA-256 of the bytes, so a file never changes once it is there."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from edgefleet_agent.wire.report import BlobRef

CHUNK_BYTES: Final = 1024 * 1024
SHA256_NAME: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredFile:
    """A file of the store, by its own listing."""

    sha256: str
    size_bytes: int
    modified_at: datetime
    """when its bytes were last written, also if they were there already"""


class BlobWriter(Protocol):
    """Receives one file; used as a context manager, it leaves nothing behind unless it was finished."""

    @property
    def received_bytes(self) -> int:
        """How much has arrived; not zero at first where an upload goes on."""
        ...

    def write(self, chunk: bytes) -> None:
        """Add bytes; BodyTooLarge beyond the limit, DiskFull when there is no room."""
        ...

    def finish(self) -> BlobRef:
        """Verify the hash, make the file durable and name it; BlobHashMismatch if it is another."""
        ...

    def __enter__(self) -> "BlobWriter": ...

    def __exit__(self, *exc: object) -> None: ...


class BlobStore(Protocol):
    """What every store of files can do."""

    @property
    def is_local(self) -> bool:
        """Whether every file lies on a disk of this host, so that reading one waits for nothing else."""
        ...

    def writer(self, expected_sha256: str | None = None, max_bytes: int | None = None) -> BlobWriter:
        """Start receiving a file."""
        ...

    def resumed_writer(self, expected_sha256: str, owner: str, max_bytes: int | None = None) -> BlobWriter:
        """Go on receiving where this owner's last upload of the file broke off; what arrives is kept until it is whole.

        UploadInProgress while the same upload is being received already.
        """
        ...

    def received_bytes(self, expected_sha256: str, owner: str) -> int:
        """How much of an unfinished upload is there."""
        ...

    def put_stream(self, chunks: Iterable[bytes], expected_sha256: str | None = None) -> BlobRef:
        """Store the bytes; refuse them if their hash is not the expected one."""
        ...

    def put_file(self, path: Path) -> BlobRef:
        """Store a copy of a file."""
        ...

    def open(self, sha256: str) -> BinaryIO:
        """The file, for reading; NotFound if it is not there."""
        ...

    def path(self, sha256: str) -> Path:
        """Where a local process finds the file; NotFound if it is not there."""
        ...

    def exists(self, sha256: str) -> bool:
        """Whether the file is there."""
        ...

    def stored(self) -> Iterator[StoredFile]:
        """All files that are there."""
        ...

    def remove(self, sha256: str, *, unmodified_since: datetime) -> bool:
        """Delete the file; False, and nothing is deleted, if its bytes were written after that moment."""
        ...

    def remove_unfinished(self, older_than: datetime) -> int:
        """Delete what was left half received and not touched since; returns the number of files."""
        ...

    def trim_cache(self) -> int:
        """Delete local copies of files that lie elsewhere, beyond what they may take; returns their number."""
        ...
