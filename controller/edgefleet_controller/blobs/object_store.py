"""Files in an object store that fsspec speaks to (S3 and what is compatible with it), with local copies of what is read.

A file is received and verified on this host before it is sent to the object store, and verified again when it is
fetched. Addresses and keys come from fsspec's and the vendor's own environment variables, never from our settings.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.blobs.errors import BlobDamaged, BlobHashMismatch
from edgefleet_controller.blobs.local_store import LocalBlobStore, LocalBlobWriter, ResumedBlobWriter
from edgefleet_controller.blobs.store import CHUNK_BYTES, SHA256_NAME, StoredFile
from edgefleet_controller.errors import NotFound, StoreUnavailable

MODIFIED_FIELDS = ("LastModified", "last_modified", "mtime", "created")
"""Where fsspec's file systems say when a file was written: s3fs, others, local, memory."""


class ObjectBlobStore:
    """Files under ``<url>/ab/cd/<sha256>``; ``cache`` holds copies and what is being received."""

    is_local = False

    def __init__(self, url: str, cache: Path, cache_bytes: int) -> None:
        is_s3 = url.startswith(("s3:", "s3a:"))
        options = {"use_listings_cache": False} if is_s3 else {}
        self._has_folders = not is_s3
        self._files, root = fsspec.core.url_to_fs(url, **options)
        self._root = str(root).rstrip("/")
        self._cache = LocalBlobStore(cache, self._publish)
        self._cache_root, self._cache_bytes = cache, cache_bytes

    def writer(self, expected_sha256: str | None = None, max_bytes: int | None = None) -> LocalBlobWriter:
        """Start receiving a file."""
        return self._cache.writer(expected_sha256, max_bytes)

    def resumed_writer(self, expected_sha256: str, owner: str, max_bytes: int | None = None) -> ResumedBlobWriter:
        """Go on receiving where this owner's last upload of the file to this host broke off."""
        return self._cache.resumed_writer(expected_sha256, owner, max_bytes)

    def received_bytes(self, expected_sha256: str, owner: str) -> int:
        """How much of an unfinished upload is on this host."""
        return self._cache.received_bytes(expected_sha256, owner)

    def put_stream(self, chunks: Iterable[bytes], expected_sha256: str | None = None) -> BlobRef:
        """Store the bytes; refuse them if their hash is not the expected one."""
        return self._cache.put_stream(chunks, expected_sha256)

    def put_file(self, path: Path) -> BlobRef:
        """Store a copy of a file."""
        return self._cache.put_file(path)

    def open(self, sha256: str) -> BinaryIO:
        """The file, for reading; NotFound if it is not there."""
        return self.path(sha256).open("rb")

    def path(self, sha256: str) -> Path:
        """A copy on this host, fetched and verified at the first call; NotFound if the file is not there."""
        if SHA256_NAME.fullmatch(sha256) is None:
            raise NotFound(f"No file has the hash {sha256[:64]}.")
        if not self._cache.exists(sha256):
            self._fetch(sha256)
        copy = self._cache.path(sha256)
        os.utime(copy)  # the copies that were not used for longest are trimmed first
        return copy

    def exists(self, sha256: str) -> bool:
        """Whether the object store has the file; a copy of one that was removed does not count."""
        if SHA256_NAME.fullmatch(sha256) is None:
            return False
        with _unavailable_is_coded():
            return bool(self._files.exists(self._location(sha256)))

    def stored(self) -> Iterator[StoredFile]:
        """All files that the object store lists."""
        with _unavailable_is_coded():
            found: Mapping[str, Mapping[str, Any]] = self._files.find(self._root, detail=True)
        for location, facts in found.items():
            name = location.rsplit("/", 1)[-1]
            if SHA256_NAME.fullmatch(name):
                yield StoredFile(name, int(facts["size"]), _modified_at(facts))

    def remove(self, sha256: str, *, unmodified_since: datetime) -> bool:
        """Delete the file; False, and nothing is deleted, if its bytes were written after that moment."""
        location = self._location(sha256)
        with _unavailable_is_coded():
            try:
                if _modified_at(self._files.info(location)) >= unmodified_since:
                    return False
                self._files.rm_file(location)
            except FileNotFoundError:
                pass  # deleted already, by another controller or before a crash
        self._cache.remove(sha256, unmodified_since=datetime.max.replace(tzinfo=UTC))
        return True

    def remove_unfinished(self, older_than: datetime) -> int:
        """Delete what was left half received on this host and not touched since; returns the number of files."""
        return self._cache.remove_unfinished(older_than)

    def trim_cache(self) -> int:
        """Delete the copies that were not read for longest, beyond what they may take; returns their number."""
        copies = sorted(self._cache.stored(), key=lambda item: item.modified_at, reverse=True)
        total, n_trimmed = 0, 0
        for item in copies:
            total += item.size_bytes
            if total > self._cache_bytes:
                self._cache.path(item.sha256).unlink(missing_ok=True)
                n_trimmed += 1
        return n_trimmed

    def _publish(self, temporary: Path, sha256: str) -> None:
        location = self._location(sha256)
        with _unavailable_is_coded():
            if self._has_folders:
                self._files.makedirs(location.rsplit("/", 1)[0], exist_ok=True)
            self._files.put_file(str(temporary), location)
        self._cache.publish(temporary, sha256)

    def _fetch(self, sha256: str) -> None:
        try:
            with _unavailable_is_coded(), self._files.open(self._location(sha256), "rb") as source:
                self._keep_copy(sha256, iter(lambda: source.read(CHUNK_BYTES), b""))
        except FileNotFoundError as err:
            raise NotFound(f"No file has the hash {sha256}.") from err

    def _keep_copy(self, sha256: str, chunks: Iterator[bytes]) -> None:
        local = LocalBlobStore(self._cache_root)  # names the copy, and sends nothing
        try:
            local.put_stream(chunks, sha256)
        except BlobHashMismatch as err:
            raise BlobDamaged(f"The object store's file {sha256} is not what its name says.") from err

    def _location(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _modified_at(facts: Mapping[str, Any]) -> datetime:
    found = next((facts[name] for name in MODIFIED_FIELDS if facts.get(name) is not None), None)
    if isinstance(found, datetime):
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    raise StoreUnavailable("The object store does not say when its files were written, so none can be collected.")


def _outages() -> tuple[type[Exception], ...]:
    """What means that the object store did not answer: s3fs lets errors of botocore through that are no OSError."""
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError)


OUTAGES = _outages()


@contextmanager
def _unavailable_is_coded() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OUTAGES as err:
        raise StoreUnavailable(f"The object store did not answer: {err}") from err
