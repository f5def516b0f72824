"""What every blob store does; a new store adds a fixture parameter, not a test."""

import errno
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgefleet_controller.blobs.local_store import LocalBlobStore
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.errors import BlobHashMismatch, BodyTooLarge, DiskFull, NotFound

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of the empty message and of "abc": FIPS 180-4 example values published by NIST."""


@pytest.fixture(params=[LocalBlobStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    made: BlobStore = request.param(tmp_path / "blobs")
    return made


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("data", "sha256"), [(b"", EMPTY_SHA256), (b"abc", ABC_SHA256)])
def test_a_file_is_named_by_its_hash(store: BlobStore, data: bytes, sha256: str) -> None:
    ref = store.put_stream([data], sha256)
    assert (ref.sha256, ref.size_bytes) == (sha256, len(data))
    with store.open(sha256) as file:
        assert file.read() == data
    assert store.path(sha256).read_bytes() == data


def test_chunks_make_one_file(store: BlobStore) -> None:
    assert store.put_stream([b"a", b"", b"bc"]).sha256 == ABC_SHA256


def test_a_copy_of_a_file_is_stored(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    assert store.put_file(source).sha256 == ABC_SHA256
    assert source.exists()


def test_storing_twice_keeps_one(store: BlobStore, tmp_path: Path) -> None:
    store.put_stream([b"abc"])
    store.put_stream([b"abc"])
    assert len(files(tmp_path)) == 1


def test_a_wrong_hash_is_refused_and_nothing_kept(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobHashMismatch, match=ABC_SHA256):
        store.put_stream([b"abd"], ABC_SHA256)
    assert files(tmp_path) == []
    assert not store.exists(ABC_SHA256)


def test_a_truncated_file_is_refused_and_nothing_kept(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobHashMismatch):
        store.put_stream([b"ab"], ABC_SHA256)
    assert files(tmp_path) == []


def test_a_source_that_breaks_off_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put_stream(chunks(), ABC_SHA256)
    assert files(tmp_path) == []


def test_the_size_limit_holds_while_the_file_arrives(store: BlobStore, tmp_path: Path) -> None:
    with store.writer(max_bytes=2) as writer:
        writer.write(b"ab")
        with pytest.raises(BodyTooLarge):
            writer.write(b"c")
    assert files(tmp_path) == []


def test_a_file_that_is_not_there_is_not_found(store: BlobStore) -> None:
    assert not store.exists(ABC_SHA256)
    with pytest.raises(NotFound):
        store.open(ABC_SHA256)
    with pytest.raises(NotFound):
        store.path(ABC_SHA256)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "incoming"])
def test_a_name_that_is_no_hash_is_not_found(store: BlobStore, name: str) -> None:
    assert not store.exists(name)
    with pytest.raises(NotFound):
        store.path(name)


def test_bytes_survive_in_any_order_of_chunks(store: BlobStore) -> None:
    data = bytes(range(256)) * 4096
    ref = store.put_stream(data[start : start + 1000] for start in range(0, len(data), 1000))
    assert ref.sha256 == hashlib.sha256(data).hexdigest()


class TestLocalBlobStore:
    """What only files on a disk do."""

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_a_coded_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        store = LocalBlobStore(tmp_path)

        def full(_descriptor: int) -> None:
            raise OSError(code, "no room")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(DiskFull):
            store.put_stream([b"abc"])
        assert files(tmp_path) == []

    def test_what_a_killed_process_left_is_removed_once_it_is_old(self, tmp_path: Path) -> None:
        store = LocalBlobStore(tmp_path)
        (tmp_path / "incoming").mkdir()
        (tmp_path / "incoming" / "half").write_bytes(b"ab")
        assert store.remove_unfinished(datetime(2000, 1, 1, tzinfo=UTC)) == 0
        assert store.remove_unfinished(datetime(3000, 1, 1, tzinfo=UTC)) == 1
        assert files(tmp_path) == []
