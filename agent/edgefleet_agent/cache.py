"""Content-addressed files on this board: resumed and verified while they arrive, verified again before they are used."""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from edgefleet_agent.errors import DiskFull, DownloadFailed, HashMismatch
from edgefleet_agent.wire.report import BlobRef

if TYPE_CHECKING:
    from edgefleet_agent.client import Download

READ_BYTES = 1024 * 1024
PART = ".part"

Source = Callable[[int], "AbstractContextManager[Download]"]
"""Opens a download at an offset."""


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class ArtifactCache:
    """A folder of files named by their sha256; the least recently used ones go when the disk gets full."""

    def __init__(self, folder: Path, free_floor_bytes: int, free_bytes: Callable[[Path], int] = _free_bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._floor, self._free_bytes = folder, free_floor_bytes, free_bytes

    def find(self, ref: BlobRef) -> Optional[Path]:
        """The cached file if it is there and still what it was; a damaged one is thrown away."""
        path = self._folder / ref.sha256
        if not path.is_file():
            return None
        if hash_file(path) != ref.sha256:
            path.unlink()
            return None
        os.utime(path)
        return path

    def fetch(
        self, ref: BlobRef, source: Source, on_chunk: Callable[[], None], *, in_use: Collection[Path] = ()
    ) -> Path:
        """The file, downloaded where it is not cached; an interrupted download goes on where it stopped.

        ``in_use``: files of this cache that must not make room for it.

        Raises DownloadFailed (call again to resume), HashMismatch or DiskFull; what ``source`` and ``on_chunk`` raise
        passes through.
        """
        found = self.find(ref)
        if found is not None:
            return found
        part = self._folder / (ref.sha256 + PART)
        present = part.stat().st_size if part.exists() else 0
        if present > ref.size_bytes:
            part.unlink()
            present = 0
        self._make_room(ref.size_bytes - present, keep={part, *in_use})
        if present < ref.size_bytes:
            self._receive(part, ref, source, present, on_chunk)
        return self._accept(part, ref)

    def _receive(self, part: Path, ref: BlobRef, source: Source, present: int, on_chunk: Callable[[], None]) -> None:
        with source(present) as download, part.open("r+b" if part.exists() else "wb") as handle:
            handle.truncate(download.offset)
            handle.seek(download.offset)
            for chunk in _limited(download.chunks, ref.size_bytes - download.offset):
                handle.write(chunk)
                on_chunk()
            handle.flush()
            os.fsync(handle.fileno())

    def _accept(self, part: Path, ref: BlobRef) -> Path:
        size_bytes = part.stat().st_size
        if size_bytes < ref.size_bytes:
            raise DownloadFailed(
                "the download of {} ended after {} of {} bytes".format(ref.sha256, size_bytes, ref.size_bytes)
            )
        if size_bytes != ref.size_bytes or hash_file(part) != ref.sha256:
            part.unlink()
            raise HashMismatch(
                "the file received as {} has another content; the controller's copy is damaged or was exchanged".format(
                    ref.sha256
                )
            )
        path = self._folder / ref.sha256
        part.replace(path)
        return path

    def _make_room(self, needed_bytes: int, keep: Collection[Path]) -> None:
        """Remove the least recently used files until the new one and the floor fit."""
        wanted = needed_bytes + self._floor
        oldest_first = sorted(
            (item for item in self._folder.iterdir() if item not in keep), key=lambda p: p.stat().st_mtime
        )
        for item in oldest_first:
            if self._free_bytes(self._folder) >= wanted:
                return
            with suppress(FileNotFoundError):
                item.unlink()
        free = self._free_bytes(self._folder)
        if free < wanted:
            raise DiskFull(
                "{} bytes are needed and {} must stay free, but only {} are free on the disk of {}; free some "
                "space".format(needed_bytes, self._floor, free, self._folder)
            )


def hash_file(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        for chunk in iter(lambda: handle.read(READ_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _limited(chunks: Iterator[bytes], n_bytes: int) -> Iterator[bytes]:
    """At most one byte more than expected: enough to see that it is too long, too little to fill the disk."""
    left = n_bytes + 1
    for chunk in chunks:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return
