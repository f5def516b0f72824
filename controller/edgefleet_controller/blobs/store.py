"""Content-addressed files: the name is the SHA-256 of the bytes, so a file never changes once it is there."""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.errors import BlobHashMismatch, BodyTooLarge, DiskFull, NotFound

CHUNK_BYTES = 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class BlobWriter(Protocol):
    """Receives one file; used as a context manager, it leaves nothing behind unless it was finished."""

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

    def writer(self, expected_sha256: str | None = None, max_bytes: int | None = None) -> BlobWriter:
        """Start receiving a file."""
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

    def remove_unfinished(self, older_than: datetime) -> int:
        """Delete what killed processes left half received; returns the number of files."""
        ...


class LocalBlobStore:
    """Files under ``root/ab/cd/<sha256>``; written to a temporary name, flushed to disk, then renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def writer(self, expected_sha256: str | None = None, max_bytes: int | None = None) -> "LocalBlobWriter":
        """Start receiving a file."""
        temporary = self._incoming / secrets.token_hex(16)
        return LocalBlobWriter(temporary, self._location, expected_sha256, max_bytes)

    def put_stream(self, chunks: Iterable[bytes], expected_sha256: str | None = None) -> BlobRef:
        """Store the bytes; refuse them if their hash is not the expected one."""
        with self.writer(expected_sha256) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.finish()

    def put_file(self, path: Path) -> BlobRef:
        """Store a copy of a file."""
        with path.open("rb") as source:
            return self.put_stream(iter(lambda: source.read(CHUNK_BYTES), b""))

    def open(self, sha256: str) -> BinaryIO:
        """The file, for reading; NotFound if it is not there."""
        return self.path(sha256).open("rb")

    def path(self, sha256: str) -> Path:
        """Where a local process finds the file; NotFound if it is not there."""
        if not self.exists(sha256):
            raise NotFound(f"No file has the hash {sha256[:64]}.")
        return self._location(sha256)

    def exists(self, sha256: str) -> bool:
        """Whether the file is there."""
        return _SHA256.fullmatch(sha256) is not None and self._location(sha256).is_file()

    def remove_unfinished(self, older_than: datetime) -> int:
        """Delete what killed processes left half received; returns the number of files.

        Only old ones: another process may be receiving a file at this moment.
        """
        old = [path for path in self._incoming.iterdir() if path.stat().st_mtime < older_than.timestamp()]
        for leftover in old:
            leftover.unlink(missing_ok=True)
        return len(old)

    def _location(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256[2:4] / sha256


class LocalBlobWriter:
    """Receives one file into a temporary name."""

    def __init__(
        self, temporary: Path, location: Callable[[str], Path], expected_sha256: str | None, max_bytes: int | None
    ) -> None:
        self._temporary = temporary
        self._location = location
        self._expected = expected_sha256
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._file = temporary.open("wb")

    def __enter__(self) -> "LocalBlobWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Add bytes; BodyTooLarge beyond the limit, DiskFull when there is no room."""
        self._size_bytes += len(chunk)
        if self._max_bytes is not None and self._size_bytes > self._max_bytes:
            raise BodyTooLarge(f"The file is larger than the {self._max_bytes} bytes allowed; nothing was kept.")
        self._hash.update(chunk)
        with _disk_full_is_coded():
            self._file.write(chunk)

    def finish(self) -> BlobRef:
        """Verify the hash, make the file durable and name it; BlobHashMismatch if it is another."""
        sha256 = self._hash.hexdigest()
        if self._expected is not None and sha256 != self._expected:
            raise BlobHashMismatch(
                f"{self._size_bytes} bytes with the hash {sha256} arrived where {self._expected} was announced; "
                "nothing was kept. Send the whole file again.",
                received_sha256=sha256,
                received_bytes=self._size_bytes,
            )
        with _disk_full_is_coded():
            self._file.flush()
            os.fsync(self._file.fileno())
            final = self._location(sha256)
            final.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.replace(final)
            _sync_folder(final.parent)
        return BlobRef(sha256=sha256, size_bytes=self._size_bytes)


def _sync_folder(folder: Path) -> None:
    # the rename itself is durable only once the folder is
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_full_is_coded() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in _FULL:
            raise DiskFull from err
        raise
