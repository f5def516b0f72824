"""A backup's file: an uncompressed tar, whose members are hashed as they are written and as they are read."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgefleet_controller.store.errors import ArchiveInvalid, TargetNotEmpty
from edgefleet_controller.store.manifest import MANIFEST, Manifest, Member, parse_manifest

CHUNK_BYTES = 1024 * 1024
PRIVATE = 0o600


class ArchiveWriter:
    """Adds members and remembers their hashes."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, Member] = {}

    def add(self, name: str, source: IO[bytes], size_bytes: int, mode: int = PRIVATE) -> str:
        """Add ``size_bytes`` of a file; returns the SHA-256 of what was read. OSError if there is less."""
        hashing = _HashingReader(source)
        facts = tarfile.TarInfo(name)
        facts.size, facts.mode = size_bytes, mode
        self._tar.addfile(facts, hashing)
        self.members[name] = Member(sha256=hashing.hexdigest(), size_bytes=size_bytes, mode=mode)
        return self.members[name].sha256

    def finish(self, manifest: Manifest) -> str:
        """Add the manifest, which makes the backup whole; returns its SHA-256."""
        document = manifest.model_dump_json(indent=1).encode()
        return self.add(MANIFEST, io.BytesIO(document), len(document))


@contextmanager
def writing_archive(path: Path) -> Iterator[ArchiveWriter]:
    """A new file that only its owner can read; it appears under its name once it is whole and on the disk."""
    if path.exists():
        raise TargetNotEmpty(f"{path} exists already; name a file that does not")
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield ArchiveWriter(tar)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class ArchiveReader:
    """A backup whose manifest was read; ``verify`` before anything of it is used."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.manifest = parse_manifest(self._read(MANIFEST))

    def verify(self) -> None:
        """Read everything once; ArchiveInvalid unless exactly the members of the manifest are there, unchanged."""
        expected = dict(self.manifest.members)
        try:
            for facts in self._tar:
                if facts.name != MANIFEST:
                    _require_equal(facts, expected.pop(facts.name, None), self._tar)
        except tarfile.TarError as err:
            raise ArchiveInvalid(f"the backup is damaged: {err}") from err
        if expected:
            raise ArchiveInvalid(f"the backup lacks {len(expected)} files, such as {min(expected)}")

    def names(self, folder: str) -> list[str]:
        """Members of a folder, without its name."""
        return [name.removeprefix(folder + "/") for name in self.manifest.members if name.startswith(folder + "/")]

    def open(self, name: str) -> IO[bytes]:
        """A member, for reading; ArchiveInvalid if it is not there."""
        try:
            file = self._tar.extractfile(name)
        except KeyError:
            raise ArchiveInvalid(f"the file has no {name}; it is no backup, or one that was not finished") from None
        except tarfile.TarError as err:
            raise ArchiveInvalid(f"the backup is damaged: {err}") from err
        if file is None:
            raise ArchiveInvalid(f"{name} is no regular file")
        return file

    def _read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()


@contextmanager
def reading_archive(path: Path) -> Iterator[ArchiveReader]:
    """Open a backup; ArchiveInvalid if the file is none."""
    try:
        tar = tarfile.open(path, "r:")  # noqa: SIM115  # closed below; an error of the block must not look like one of the file
    except (OSError, tarfile.TarError) as err:
        raise ArchiveInvalid(f"{path} cannot be read as a backup: {err}") from err
    with tar:
        yield ArchiveReader(tar)


def chunks_of(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file, 1 MiB at a time."""
    return iter(lambda: file.read(CHUNK_BYTES), b"")


class _HashingReader(io.RawIOBase):
    """Passes reads on and hashes what came."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _require_equal(facts: tarfile.TarInfo, expected: Member | None, tar: tarfile.TarFile) -> None:
    if expected is None:
        raise ArchiveInvalid(f"the backup has {facts.name}, which its manifest does not name")
    file = tar.extractfile(facts) if facts.isreg() else None
    if file is None:
        raise ArchiveInvalid(f"{facts.name} is no regular file")
    found = hashlib.sha256()
    for chunk in chunks_of(file):
        found.update(chunk)
    if (found.hexdigest(), facts.size) != (expected.sha256, expected.size_bytes):
        raise ArchiveInvalid(f"{facts.name} is not what was saved: its hash or length differs from the manifest's")
