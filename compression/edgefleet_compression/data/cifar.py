"""CIFAR-10 and CIFAR-100 from their original binary archives.

Format (the data set's page): records of one label byte (CIFAR-100: coarse, then fine label) and 3,072 bytes of a 32x32
image, red, green and blue planes in turn. The "python version" is pickled and never read.
"""

import tarfile
from pathlib import Path
from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split
from edgefleet_compression.data.images import normalised
from edgefleet_compression.data.specs import CifarData
from edgefleet_compression.data.splitting import cut_validation
from edgefleet_compression.errors import DataInvalid

IMAGE_SHAPE: Final = (3, 32, 32)
IMAGE_BYTES: Final = 3072
MAX_MEMBER_BYTES: Final = 256 * 1024**2
_LAYOUTS: Final = {
    "cifar-10-batches-bin": (1, tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
    "cifar-100-binary": (2, ("train.bin",), "test.bin"),
}
"""Folder in the archive -> label bytes per record, training files, test file."""
_PICKLED: Final = ("cifar-10-batches-py", "cifar-100-python")


def load(spec: CifarData) -> DataSet:
    """Return x uint8 (n, 3, 32, 32), or float32 where the specification normalises, and y int64 (n,)."""
    try:
        with tarfile.open(spec.path) as archive:
            folder = _folder_of(archive, spec.path)
            n_label_bytes, train_files, test_file = _LAYOUTS[folder]
            train = [_read(archive, f"{folder}/{name}", n_label_bytes) for name in train_files]
            test = _read(archive, f"{folder}/{test_file}", n_label_bytes)
    except FileNotFoundError as error:
        raise DataInvalid(f"There is no data file {spec.path.name}.", code="data_missing") from error
    except (OSError, EOFError, tarfile.TarError, KeyError) as error:
        raise DataInvalid(
            f"{spec.path.name} is not a whole CIFAR binary archive ({error}): download it again.",
            code="data_unreadable",
        ) from error
    whole = Split({"x": np.concatenate([x for x, _ in train])}, np.concatenate([y for _, y in train]))
    kept, validation = cut_validation(whole, n_validation=spec.n_validation, seed=spec.split_seed)
    name = "cifar10" if n_label_bytes == 1 else "cifar100"
    return normalised(DataSet(name, kept, validation, Split({"x": test[0]}, test[1])), spec.mean, spec.std)


def _folder_of(archive: tarfile.TarFile, path: Path) -> str:
    folders = {name.split("/")[0] for name in archive.getnames()}
    if folders & set(_PICKLED):
        raise DataInvalid(
            f"{path.name} is the python version, whose files are pickles and could run code: download the binary version "
            "(cifar-10-binary.tar.gz or cifar-100-binary.tar.gz).",
            code="pickle_refused",
        )
    known = sorted(folders & set(_LAYOUTS))
    if not known:
        raise DataInvalid(f"{path.name} holds no CIFAR binary version.", code="data_unreadable")
    return known[0]


def _read(archive: tarfile.TarFile, name: str, n_label_bytes: int) -> tuple[Array, Array]:
    member = archive.getmember(name)
    stream = archive.extractfile(member)
    record_bytes = n_label_bytes + IMAGE_BYTES
    if stream is None or member.size == 0 or member.size > MAX_MEMBER_BYTES or member.size % record_bytes:
        raise DataInvalid(
            f"{name} has {member.size} bytes, which are no whole records of {record_bytes}.", code="data_unreadable"
        )
    records = np.frombuffer(stream.read(), np.uint8).reshape(-1, record_bytes)
    x = records[:, n_label_bytes:].reshape(-1, *IMAGE_SHAPE)
    return np.ascontiguousarray(x), records[:, n_label_bytes - 1].astype(np.int64)
