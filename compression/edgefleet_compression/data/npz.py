"""A person's own data set: an .npz file of plain arrays.

Layouts: ``x`` (n, ...) with optional ``y`` (n,), cut by seed; or explicit ``x_train``, ``y_train``, ``x_validation``,
``y_validation``, ``x_test``, ``y_test``. For a model of several inputs, one array per input name takes the place of x.
Pickled object arrays are never loaded.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import SPLITS, Array, DataSet, Split
from edgefleet_compression.data.splitting import split_seeded
from edgefleet_compression.errors import DataInvalid

MAX_UNPACKED_BYTES: Final = 8 * 1024**3
"""Refuse archives that unpack to more: a small compressed file can describe a very large array."""

_INPUT_TYPES: Final = ("float32", "float64", "float16", "uint8", "int8", "int32", "int64")


def load(path: Path, seed: int) -> DataSet:
    """Return the data set of an .npz file, or raise DataInvalid with what is wrong and in which array."""
    arrays = read_arrays(path)
    explicit = any(name.endswith(tuple(f"_{split}" for split in SPLITS)) for name in arrays)
    if explicit:
        train, validation, test = (_explicit_split(arrays, split) for split in SPLITS)
        return DataSet(path.stem, train, validation, test)
    inputs = {name: _checked_input(name, array) for name, array in arrays.items() if name != "y"}
    y = _checked_labels("y", arrays["y"]) if "y" in arrays else None
    return split_seeded(path.stem, inputs, y, seed=seed)


def read_arrays(path: Path) -> dict[str, Array]:
    """Return name -> array of an .npz file; DataInvalid where it is missing, too large or holds pickled objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise DataInvalid(
                f"{path.name} unpacks to {unpacked} bytes, above {MAX_UNPACKED_BYTES}.", code="data_too_large"
            )
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataInvalid(f"There is no data file {path.name}.", code="data_missing") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataInvalid(
            f"{path.name} is not a readable .npz of plain arrays ({error}): write it with numpy.savez.",
            code="data_unreadable",
        ) from error
    if not set(arrays) - {"y"}:
        raise DataInvalid(f"{path.name} holds no input array: store the samples as x.", code="data_empty")
    return arrays


def _explicit_split(arrays: Mapping[str, Array], split: str) -> Split:
    suffix = f"_{split}"
    chosen = {name.removesuffix(suffix): array for name, array in arrays.items() if name.endswith(suffix)}
    labels = chosen.pop("y", None)
    if not chosen:
        raise DataInvalid(f"The data set has explicit splits but no x{suffix}.", code="data_split_missing")
    inputs = {name: _checked_input(f"{name}{suffix}", array) for name, array in chosen.items()}
    return Split(inputs, None if labels is None else _checked_labels(f"y{suffix}", labels))


def _checked_input(name: str, array: Array) -> Array:
    if array.ndim < 1 or len(array) == 0:
        raise DataInvalid(f"Array {name} has no samples.", code="data_empty")
    if array.dtype.name not in _INPUT_TYPES:
        raise DataInvalid(f"Array {name} has type {array.dtype}; use float32 or uint8.", code="data_type_unsupported")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataInvalid(f"Array {name} contains NaN or infinite values.", code="data_not_finite")
    return array.astype(np.float32) if array.dtype.name in ("float64", "float16") else array


def _checked_labels(name: str, array: Array) -> Array:
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DataInvalid(
            f"Labels {name} must be integers of shape (n,), got {array.dtype} {array.shape}.", code="labels_invalid"
        )
    if len(array) and array.min() < 0:
        raise DataInvalid(f"Labels {name} must not be negative.", code="labels_invalid")
    return array.astype(np.int64)
