"""Image data sets from files: archives, packs, folders. The files are made here, small."""

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.errors import DataInvalid

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes the images of these tests")


def load(document: dict[str, Any]) -> DataSet:
    data = load_data({key: str(value) if isinstance(value, Path) else value for key, value in document.items()})
    assert data is not None
    return data


def code_of(document: dict[str, Any]) -> str:
    with pytest.raises(DataInvalid) as caught:
        load(document)
    return caught.value.code


def cifar_record(label: bytes, red: int, green: int, blue: int) -> bytes:
    """By the data set's page: label, then 1,024 bytes of each plane."""
    return label + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as stream:
        for name, payload in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            stream.addfile(member, io.BytesIO(payload))
    return path


def cifar10(path: Path, **changes: bytes) -> Path:
    records = b"".join(cifar_record(bytes([number]), number, 100, 200) for number in range(10))
    files = {f"data_batch_{number}.bin": records for number in range(1, 6)} | {"test_batch.bin": records[:6146]}
    return archive(path, {f"cifar-10-batches-bin/{name}": body for name, body in (files | changes).items()})


def test_cifar10_binary_archive_has_planes_labels_and_its_own_test_split(tmp_path: Path) -> None:
    data = load({"kind": "cifar", "path": cifar10(tmp_path / "c.tar.gz"), "n_validation": 8})
    assert (len(data.train), len(data.validation), len(data.test)) == (42, 8, 2)
    assert data.test.y is not None
    assert data.test.y.tolist() == [0, 1]
    assert data.test.x.shape == (2, 3, 32, 32)
    assert [set(data.test.x[1, plane].ravel().tolist()) for plane in range(3)] == [{1}, {100}, {200}]


def test_cifar100_takes_the_fine_label(tmp_path: Path) -> None:
    records = b"".join(cifar_record(bytes([7, fine]), 0, 0, 0) for fine in (42, 99, 3))
    path = archive(tmp_path / "c.tar.gz", {"cifar-100-binary/train.bin": records, "cifar-100-binary/test.bin": records})
    data = load({"kind": "cifar", "path": path, "n_validation": 1})
    assert data.test.y is not None
    assert data.test.y.tolist() == [42, 99, 3]


def test_pickled_cifar_is_refused_and_the_binary_one_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "c.tar.gz", {"cifar-10-batches-py/data_batch_1": b"\x80\x02}q\x00."})
    with pytest.raises(DataInvalid, match=r"cifar-10-binary\.tar\.gz") as caught:
        load({"kind": "cifar", "path": path})
    assert caught.value.code == "pickle_refused"


def test_damaged_cifar_archives_are_refused(tmp_path: Path) -> None:
    whole = cifar10(tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    files = {
        "cut.tar.gz": "data_unreadable",
        "none.tar.gz": "data_missing",
        archive(tmp_path / "other.tar.gz", {"readme/a": b"x"}).name: "data_unreadable",
        cifar10(tmp_path / "short.tar.gz", **{"test_batch.bin": b"123"}).name: "data_unreadable",
    }
    for name, code in files.items():
        assert code_of({"kind": "cifar", "path": tmp_path / name, "n_validation": 1}) == code


def test_more_validation_than_training_is_refused(tmp_path: Path) -> None:
    assert code_of({"kind": "cifar", "path": cifar10(tmp_path / "c.tar.gz")}) == "data_too_small"


def test_normalised_pixels_follow_the_formula(tmp_path: Path) -> None:
    """(200 / 255 - 0.5) / 0.25 of the blue plane."""
    path = cifar10(tmp_path / "c.tar.gz")
    stats = {"mean": [0.1, 0.2, 0.5], "std": [1.0, 1.0, 0.25]}
    data = load({"kind": "cifar", "path": path, "n_validation": 8, **stats})
    assert float(data.test.x[0, 2, 0, 0]) == pytest.approx((200 / 255 - 0.5) / 0.25)
    assert data.test.x.dtype == np.float32
    assert code_of({"kind": "cifar", "path": path, "n_validation": 8, "mean": [0.1]}) == "data_spec_invalid"


def encoded(color: tuple[int, int, int], size: tuple[int, int] = (6, 4), kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, kind)
    return stream.getvalue()


def pack(path: Path, images: list[bytes], **changes: Any) -> Path:
    offsets = np.cumsum([0, *map(len, images)])
    arrays = {"jpeg": np.frombuffer(b"".join(images), np.uint8), "offsets": offsets, "y": np.arange(len(images)) % 2}
    np.savez(path, **(arrays | changes))
    return path


def test_pack_of_compressed_images_is_decoded(tmp_path: Path) -> None:
    images = [encoded((10 * number, 0, 5)) for number in range(10)]
    test = tmp_path / "test.npz"
    np.savez(test, x=np.full((2, 4, 6, 3), 9, np.uint8), y=np.array([0, 1]))
    data = load({"kind": "image_pack", "train": pack(tmp_path / "a.npz", images), "test": test, "n_validation": 3})
    assert (len(data.train), len(data.validation), len(data.test)) == (7, 3, 2)
    assert data.train.x.shape[1:] == (3, 4, 6)
    reds = sorted(set(data.train.x[:, 0].ravel().tolist()) | set(data.validation.x[:, 0].ravel().tolist()))
    assert reds == [10 * number for number in range(10)]


def test_pack_alone_is_cut_into_three(tmp_path: Path) -> None:
    images = [encoded((number, 0, 5)) for number in range(40)]
    data = load({"kind": "image_pack", "train": pack(tmp_path / "a.npz", images)})
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 6, 6)


@pytest.mark.parametrize(
    ("code", "images", "changes"),
    [
        ("image_unreadable", [b"not an image"] * 8, {}),
        ("image_sizes_differ", [encoded((0, 0, 0), (4, 4)), encoded((0, 0, 0), (5, 4))] * 4, {}),
        ("data_unreadable", [encoded((0, 0, 0))] * 8, {"offsets": np.zeros(9, np.int64)}),
        ("data_unreadable", [encoded((0, 0, 0))] * 8, {"offsets": np.array([0, 10**9])}),
        ("labels_invalid", [encoded((0, 0, 0))] * 8, {"y": np.zeros(8)}),
        ("data_length_mismatch", [encoded((0, 0, 0))] * 8, {"y": np.zeros(7, np.int64)}),
    ],
)
def test_bad_pack_is_refused(tmp_path: Path, code: str, images: list[bytes], changes: dict[str, Any]) -> None:
    assert code_of({"kind": "image_pack", "train": pack(tmp_path / "a.npz", images, **changes)}) == code


def test_pack_without_images_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((8, 4), np.uint8), y=np.zeros(8, np.int64))
    assert code_of({"kind": "image_pack", "train": tmp_path / "a.npz"}) == "data_unreadable"


def test_images_without_pillow_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.npz", [encoded((0, 0, 0))] * 8)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataInvalid, match=r"edgefleet\[vision\]") as caught:
        load({"kind": "image_pack", "train": path})
    assert caught.value.code == "decoder_missing"


def folder(root: Path, split: str, n_images: int, names: tuple[str, ...] = ("cat", "dog")) -> None:
    for label, name in enumerate(names):
        (root / split / name).mkdir(parents=True)
        for number in range(n_images):
            size = (20 + number, 12)
            (root / split / name / f"{number}.png").write_bytes(encoded((50 * label, number, 0), size))


def test_folders_are_classes_and_one_held_out_folder_is_the_test_split(tmp_path: Path) -> None:
    """Validation, on which choices are made, is then cut from train."""
    folder(tmp_path, "train", 10)
    folder(tmp_path, "val", 3)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    data = load({"kind": "image_folder", "path": tmp_path, "side": 8})
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    assert data.train.x.shape[1:] == (3, 8, 8)
    for split in (data.train, data.validation, data.test):
        assert split.y is not None
        assert (split.x[:, 0, 0, 0] == 50 * split.y).all()


def test_folders_for_validation_and_test_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, n_images in (("train", 4), ("val", 2), ("test", 3)):
        folder(tmp_path, split, n_images)
    data = load({"kind": "image_folder", "path": tmp_path, "side": 8})
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 4, 6)


def test_classes_alone_are_cut_into_three(tmp_path: Path) -> None:
    folder(tmp_path, ".", 20)
    data = load({"kind": "image_folder", "path": tmp_path, "side": 8})
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 6, 6)


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    spec = {"kind": "image_folder", "side": 8}
    assert code_of({**spec, "path": tmp_path / "none"}) == "data_missing"
    assert code_of({**spec, "path": tmp_path}) == "data_empty"
    folder(tmp_path, "train", 4)
    assert code_of({**spec, "path": tmp_path}) == "data_split_missing"
    folder(tmp_path, "val", 2, ("cat", "horse"))
    assert code_of({**spec, "path": tmp_path}) == "labels_out_of_range"


def test_the_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path) -> None:
    """A 32 x 16 image of four vertical stripes: of its centre 16 x 16 the two inner stripes remain."""
    stripes = np.repeat(np.array([0, 80, 160, 240], np.uint8), 8)[None, :, None].repeat(16, 0).repeat(3, 2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.fromarray(stripes).save(tmp_path / name / f"{number}.png")
    data = load({"kind": "image_folder", "path": tmp_path, "side": 8, "crop": 1.0})
    assert data.train.x[0, 0, 4, [1, 6]].tolist() == [80, 160]
