"""What every blob store does; a new store adds a fixture parameter, not a test."""

import errno
import hashlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgefleet_controller.blobs.errors import BlobDamaged, BlobHashMismatch, DiskFull, UploadInProgress
from edgefleet_controller.blobs.local_store import LocalBlobStore
from edgefleet_controller.blobs.object_store import ObjectBlobStore
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.errors import BodyTooLarge, NotFound, StoreUnavailable

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of the empty message and of "abc": FIPS 180-4 example values published by NIST."""


@pytest.fixture(params=["local", "object-memory", "object-file", "object-s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where an object store is; None for files of this host."""
    if request.param == "object-memory":
        return f"memory://{uuid.uuid4().hex}/files"
    if request.param == "object-file":
        return f"file://{tmp_path / 'remote'}"
    if request.param == "object-s3":
        bucket: str = request.getfixturevalue("s3_bucket")
        return f"s3://{bucket}/{uuid.uuid4().hex}"
    return None


@pytest.fixture
def store(url: str | None, tmp_path: Path) -> BlobStore:
    cache = tmp_path / "blobs"
    return LocalBlobStore(cache) if url is None else ObjectBlobStore(url, cache, cache_bytes=10)


@pytest.fixture
def elsewhere(url: str | None, store: BlobStore, tmp_path: Path) -> BlobStore:
    """The same store from another host: without this host's copies."""
    return store if url is None else ObjectBlobStore(url, tmp_path / "other", cache_bytes=10)


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


def test_storing_twice_keeps_one(store: BlobStore) -> None:
    store.put_stream([b"abc"])
    store.put_stream([b"abc"])
    assert [item.sha256 for item in store.stored()] == [ABC_SHA256]


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


def test_what_one_host_stores_another_finds(store: BlobStore, elsewhere: BlobStore) -> None:
    store.put_stream([b"abc"])
    assert elsewhere.exists(ABC_SHA256)
    assert elsewhere.path(ABC_SHA256).read_bytes() == b"abc"
    assert [(item.sha256, item.size_bytes) for item in elsewhere.stored()] == [(ABC_SHA256, 3)]


def test_a_file_is_removed_unless_it_was_written_since(store: BlobStore, elsewhere: BlobStore) -> None:
    store.put_stream([b"abc"])
    assert not elsewhere.remove(ABC_SHA256, unmodified_since=datetime.now(UTC) - timedelta(hours=1))
    assert store.path(ABC_SHA256).read_bytes() == b"abc"
    assert elsewhere.remove(ABC_SHA256, unmodified_since=datetime.now(UTC) + timedelta(hours=1))
    assert not store.exists(ABC_SHA256)
    assert list(store.stored()) == []
    assert elsewhere.remove(ABC_SHA256, unmodified_since=datetime.now(UTC)), "it is gone, as asked"
    store.put_stream([b"abc"])
    assert elsewhere.path(ABC_SHA256).read_bytes() == b"abc"


def test_an_upload_goes_on_where_it_broke_off(store: BlobStore) -> None:
    with store.resumed_writer(ABC_SHA256, "me") as writer:
        writer.write(b"a")
    assert (store.received_bytes(ABC_SHA256, "me"), store.received_bytes(ABC_SHA256, "you")) == (1, 0)
    assert not store.exists(ABC_SHA256)
    with store.resumed_writer(ABC_SHA256, "me") as writer:
        with pytest.raises(UploadInProgress):
            store.resumed_writer(ABC_SHA256, "me")
        assert writer.received_bytes == 1
        writer.write(b"bc")
        assert writer.finish().sha256 == ABC_SHA256
    assert store.path(ABC_SHA256).read_bytes() == b"abc"
    assert store.received_bytes(ABC_SHA256, "me") == 0


def test_parts_of_another_file_are_refused_and_not_kept(store: BlobStore) -> None:
    with store.resumed_writer(ABC_SHA256, "me") as writer:
        writer.write(b"abd")
        with pytest.raises(BlobHashMismatch):
            writer.finish()
    assert store.received_bytes(ABC_SHA256, "me") == 0
    assert not store.exists(ABC_SHA256)


class TestObjectBlobStore:
    """What only files that lie elsewhere do."""

    @pytest.fixture
    def remote(self, tmp_path: Path) -> Path:
        return tmp_path / "remote"

    @pytest.fixture
    def objects(self, tmp_path: Path, remote: Path) -> ObjectBlobStore:
        return ObjectBlobStore(f"file://{remote}", tmp_path / "cache", cache_bytes=5)

    def test_a_damaged_object_is_refused_and_no_copy_kept(
        self, objects: ObjectBlobStore, remote: Path, tmp_path: Path
    ) -> None:
        objects.put_stream([b"abc"])
        next(path for path in files(remote)).write_bytes(b"abd")
        other = ObjectBlobStore(f"file://{remote}", tmp_path / "other", cache_bytes=5)
        with pytest.raises(BlobDamaged):
            other.path(ABC_SHA256)
        assert files(tmp_path / "other") == []

    def test_copies_beyond_their_limit_are_trimmed_and_fetched_again(
        self, objects: ObjectBlobStore, tmp_path: Path
    ) -> None:
        objects.put_stream([b"abc"])
        other = objects.put_stream([b"defg"])
        assert objects.trim_cache() == 1
        assert len(files(tmp_path / "cache")) == 1
        assert objects.path(ABC_SHA256).read_bytes() + objects.path(other.sha256).read_bytes() == b"abcdefg"

    def test_an_object_store_that_does_not_answer_is_a_coded_error_and_nothing_is_kept(
        self, objects: ObjectBlobStore, remote: Path, tmp_path: Path
    ) -> None:
        remote.write_text("a file where the folder should be")
        with pytest.raises(StoreUnavailable):
            objects.put_stream([b"abc"])
        assert files(tmp_path / "cache") == []


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
