"""Files on a disk of this host."""

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.blobs.errors import BlobHashMismatch, DiskFull, UploadInProgress
from edgefleet_controller.blobs.store import CHUNK_BYTES, SHA256_NAME, StoredFile
from edgefleet_controller.errors import BodyTooLarge, NotFound

_FULL = (errno.ENOSPC, errno.EDQUOT)
Publish = Callable[[Path, str], None]
"""Gives a whole, verified file its name."""


class LocalBlobStore:
    """Files under ``root/ab/cd/<sha256>``; written to a temporary name, flushed to disk, then renamed."""

    is_local = True

    def __init__(self, root: Path, publish: Publish | None = None) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._publish = publish or self.publish

    def writer(self, expected_sha256: str | None = None, max_bytes: int | None = None) -> "LocalBlobWriter":
        """Start receiving a file."""
        return LocalBlobWriter(self._temporary(), self._publish, expected_sha256, max_bytes)

    def resumed_writer(self, expected_sha256: str, owner: str, max_bytes: int | None = None) -> "ResumedBlobWriter":
        """Go on receiving where this owner's last upload of the file broke off."""
        return ResumedBlobWriter(self._partial(expected_sha256, owner), self._publish, expected_sha256, max_bytes)

    def received_bytes(self, expected_sha256: str, owner: str) -> int:
        """How much of an unfinished upload is there."""
        try:
            return self._partial(expected_sha256, owner).stat().st_size
        except FileNotFoundError:
            return 0

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
        if SHA256_NAME.fullmatch(sha256) is None:
            raise _not_there(sha256)
        try:
            return self._location(sha256).open("rb")
        except FileNotFoundError as err:
            raise _not_there(sha256) from err

    def path(self, sha256: str) -> Path:
        """Where a local process finds the file; NotFound if it is not there."""
        if not self.exists(sha256):
            raise _not_there(sha256)
        return self._location(sha256)

    def exists(self, sha256: str) -> bool:
        """Whether the file is there."""
        return SHA256_NAME.fullmatch(sha256) is not None and self._location(sha256).is_file()

    def stored(self) -> Iterator[StoredFile]:
        """All files that are there."""
        for path in self._root.glob("??/??/*"):
            try:
                facts = path.stat()
            except FileNotFoundError:  # removed meanwhile
                continue
            if SHA256_NAME.fullmatch(path.name):
                yield StoredFile(path.name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))

    def remove(self, sha256: str, *, unmodified_since: datetime) -> bool:
        """Delete the file; False, and nothing is deleted, if its bytes were written after that moment.

        The file is taken away before it is looked at, so that one that is stored again at this instant is not lost.
        """
        taken = self._temporary()
        try:
            self._location(sha256).replace(taken)
        except FileNotFoundError:
            return True
        if taken.stat().st_mtime >= unmodified_since.timestamp():
            self.publish(taken, sha256)
            return False
        taken.unlink()
        return True

    def remove_unfinished(self, older_than: datetime) -> int:
        """Delete what was left half received and not touched since; returns the number of files.

        Only old ones: another process may be receiving a file at this moment.
        """
        if not self._incoming.exists():
            return 0
        old = [path for path in self._incoming.iterdir() if _modified_s(path) < older_than.timestamp()]
        for leftover in old:
            leftover.unlink(missing_ok=True)
        return len(old)

    def trim_cache(self) -> int:
        """Nothing: these files are no copies."""
        return 0

    def publish(self, temporary: Path, sha256: str) -> None:
        """Give a whole file its name, durably."""
        final = self._location(sha256)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(final)
        _sync_folder(final.parent)

    def _temporary(self) -> Path:
        self._incoming.mkdir(parents=True, exist_ok=True)
        return self._incoming / secrets.token_hex(16)

    def _partial(self, sha256: str, owner: str) -> Path:
        # one file for each owner: nobody can spoil what another is sending under the same name
        self._incoming.mkdir(parents=True, exist_ok=True)
        return self._incoming / f"{sha256}.{hashlib.sha256(owner.encode()).hexdigest()[:16]}"

    def _location(self, sha256: str) -> Path:
        return Path(f"{self._root}/{sha256[:2]}/{sha256[2:4]}/{sha256}")  # at once: each step with / costs as much


def _not_there(sha256: str) -> NotFound:
    return NotFound(f"No file has the hash {sha256[:64]}.")


class LocalBlobWriter:
    """Receives one file into a temporary name."""

    def __init__(
        self, temporary: Path, publish: Publish, expected_sha256: str | None, max_bytes: int | None, mode: str = "wb"
    ) -> None:
        self._temporary = temporary
        self._publish = publish
        self._expected = expected_sha256
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._file = temporary.open(mode)

    def __enter__(self) -> "LocalBlobWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    @property
    def received_bytes(self) -> int:
        """How much has arrived."""
        return self._size_bytes

    def write(self, chunk: bytes) -> None:
        """Add bytes; BodyTooLarge beyond the limit, DiskFull when there is no room."""
        if self._max_bytes is not None and self._size_bytes + len(chunk) > self._max_bytes:
            raise BodyTooLarge(f"The file is larger than the {self._max_bytes} bytes allowed; nothing was kept.")
        with _disk_full_is_coded():
            self._file.write(chunk)
        self._size_bytes += len(chunk)
        self._hash.update(chunk)

    def finish(self) -> BlobRef:
        """Verify the hash, make the file durable and name it; BlobHashMismatch if it is another."""
        sha256 = self._hash.hexdigest()
        if self._expected is not None and sha256 != self._expected:
            self._discard()
            raise BlobHashMismatch(
                f"{self._size_bytes} bytes with the hash {sha256} arrived where {self._expected} was announced; "
                "nothing was kept. Send the whole file again.",
                received_sha256=sha256,
                received_bytes=self._size_bytes,
            )
        with _disk_full_is_coded():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._publish(self._temporary, sha256)
        return BlobRef(sha256=sha256, size_bytes=self._size_bytes)

    def _discard(self) -> None:
        self._temporary.unlink(missing_ok=True)


class ResumedBlobWriter(LocalBlobWriter):
    """Adds to what an earlier upload left, and leaves what arrived for a later one."""

    def __init__(self, partial: Path, publish: Publish, expected_sha256: str, max_bytes: int | None) -> None:
        super().__init__(partial, publish, expected_sha256, max_bytes, mode="ab")
        try:
            self._hold(partial)
            self._hash_what_is_there(partial)
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *exc: object) -> None:
        with _disk_full_is_coded():
            self._file.close()

    def _hold(self, partial: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UploadInProgress from None
        if not partial.exists() or not os.path.samestat(os.fstat(self._file.fileno()), partial.stat()):
            raise UploadInProgress("The same upload ended at this moment; ask for its state and go on.")

    def _hash_what_is_there(self, partial: Path) -> None:
        # a hash's state cannot be stored; hashing again is far cheaper than sending again
        with partial.open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                self._hash.update(chunk)
                self._size_bytes += len(chunk)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # finished meanwhile
        return float("inf")


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
