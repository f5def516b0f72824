import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.client import Download
from edgefleet_agent.errors import DiskFull, DownloadFailed, HashMismatch, Unreachable
from edgefleet_agent.wire.report import BlobRef

CONTENT = bytes(range(256)) * 40


def ref_of(content: bytes) -> BlobRef:
    return BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


REF = ref_of(CONTENT)


class Server:
    """Hands out one file; ``breaks_at`` ends a transfer early, ``raises`` breaks the connection there instead."""

    def __init__(self, content: bytes = CONTENT, *, honours_range: bool = True) -> None:
        self.content, self.honours_range = content, honours_range
        self.breaks_at: int | None = None
        self.raises = False
        self.offsets: list[int] = []

    @contextmanager
    def __call__(self, offset: int) -> Iterator[Download]:
        self.offsets.append(offset)
        start = offset if self.honours_range else 0
        yield Download(start, self._chunks(start))

    def _chunks(self, start: int) -> Iterator[bytes]:
        end = len(self.content) if self.breaks_at is None else self.breaks_at
        for position in range(start, end, 1000):
            yield self.content[position : min(position + 1000, end)]
        if self.raises:
            raise Unreachable("connection reset")


def nothing() -> None:
    """For callers who do not follow."""


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", free_floor_bytes=0)


def test_file_is_downloaded_once(cache: ArtifactCache) -> None:
    server = Server()
    path = cache.fetch(REF, server, nothing)
    assert path.read_bytes() == CONTENT
    assert cache.fetch(REF, server, nothing) == path
    assert server.offsets == [0]


@pytest.mark.parametrize("raises", [True, False], ids=["connection breaks", "file is truncated"])
def test_interrupted_download_resumes_where_it_stopped(cache: ArtifactCache, raises: bool) -> None:
    server = Server()
    server.breaks_at, server.raises = 3000, raises
    with pytest.raises((Unreachable, DownloadFailed)):
        cache.fetch(REF, server, nothing)
    server.breaks_at, server.raises = None, False
    assert cache.fetch(REF, server, nothing).read_bytes() == CONTENT
    assert server.offsets == [0, 3000]


def test_server_that_starts_over_is_followed(cache: ArtifactCache) -> None:
    server = Server(honours_range=False)
    server.breaks_at = 3000
    with pytest.raises(DownloadFailed):
        cache.fetch(REF, server, nothing)
    server.breaks_at = None
    assert cache.fetch(REF, server, nothing).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"X", CONTENT + b"more"], ids=["other bytes", "too long"])
def test_other_content_is_refused_and_not_kept(cache: ArtifactCache, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(HashMismatch):
        cache.fetch(REF, Server(content), nothing)
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_cached_file_is_fetched_again(cache: ArtifactCache) -> None:
    server = Server()
    path = cache.fetch(REF, server, nothing)
    path.write_bytes(b"damaged")
    assert cache.find(REF) is None
    assert cache.fetch(REF, server, nothing).read_bytes() == CONTENT


def test_least_recently_used_file_makes_room(tmp_path: Path) -> None:
    folder = tmp_path / "cache"

    def free(_folder: Path) -> int:
        return 25_000 - sum(item.stat().st_size for item in folder.iterdir())

    cache = ArtifactCache(folder, free_floor_bytes=1000, free_bytes=free)
    contents = [bytes([number]) * 10_000 for number in range(3)]
    for age, content in enumerate(contents[:2]):
        path = cache.fetch(ref_of(content), Server(content), nothing)
        os.utime(path, (1000 + age, 1000 + age))
    cache.find(ref_of(contents[0]))  # used again, so it is younger now
    cache.fetch(ref_of(contents[2]), Server(contents[2]), nothing)
    assert cache.find(ref_of(contents[0])) is not None
    assert cache.find(ref_of(contents[1])) is None


def test_full_disk_is_a_coded_error(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", free_floor_bytes=10, free_bytes=lambda _folder: 100)
    with pytest.raises(DiskFull) as caught:
        cache.fetch(REF, Server(), nothing)
    assert caught.value.code == "disk_full"


def test_a_file_in_use_does_not_make_room(tmp_path: Path) -> None:
    """The artifact must still be there when its evaluation set has arrived."""
    folder = tmp_path / "cache"

    def free(_folder: Path) -> int:
        return 15_000 - sum(item.stat().st_size for item in folder.iterdir())

    cache = ArtifactCache(folder, free_floor_bytes=1000, free_bytes=free)
    artifact, evaluation = b"a" * 10_000, b"e" * 10_000
    path = cache.fetch(ref_of(artifact), Server(artifact), nothing)
    with pytest.raises(DiskFull):
        cache.fetch(ref_of(evaluation), Server(evaluation), nothing, in_use=(path,))
    assert path.read_bytes() == artifact
    assert cache.fetch(ref_of(evaluation), Server(evaluation), nothing).read_bytes() == evaluation
