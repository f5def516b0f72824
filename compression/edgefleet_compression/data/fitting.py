"""Bring a data set into the form that a network takes."""

from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split, check_labels, check_shape
from edgefleet_compression.errors import DataInvalid
from edgefleet_compression.structure import Structure

_AS_STORED: Final = ("float32", "uint8")
"""uint8 images stay as they are until a batch is made of them: as float32 they take four times the memory."""


def fit_to(structure: Structure, data: DataSet) -> DataSet:
    """Return the data set in the network's input type, or raise DataInvalid.

    Codes: ``data_shape_mismatch``, ``data_type_mismatch``, ``token_out_of_range``, ``labels_out_of_range``. Fitting twice
    changes nothing.
    """
    check_shape(data, structure.input.shape)
    check_labels(data, structure.task.n_classes)
    n_values = structure.input.n_values
    train, validation, test = (
        Split({name: fit_array(array, n_values=n_values) for name, array in split.inputs.items()}, split.y)
        for split in (data.train, data.validation, data.test)
    )
    return DataSet(data.name, train, validation, test)


def fit_array(array: Array, *, n_values: int | None) -> Array:
    """Return samples as float32 (or uint8 as stored), or as int64 where ``n_values`` says that they are token ids."""
    if n_values is None:
        return array if array.dtype.name in _AS_STORED else array.astype(np.float32)
    check_tokens(array, n_values=n_values)
    return array.astype(np.int64, copy=False)


def check_tokens(array: Array, *, n_values: int) -> None:
    """Raise DataInvalid unless the array holds integers in 0..n_values - 1."""
    if array.dtype.kind not in "iu":
        raise DataInvalid(
            f"The model takes token ids, the data set has {array.dtype}: store integers.",
            code="data_type_mismatch",
            detail={"expected": "int64", "found": str(array.dtype)},
        )
    if array.size and (array.min() < 0 or array.max() >= n_values):
        raise DataInvalid(
            f"The model takes token ids 0..{n_values - 1}, the data set has {array.min()}..{array.max()}: it was tokenized "
            "with another vocabulary.",
            code="token_out_of_range",
            detail={"n_values": n_values, "smallest": int(array.min()), "largest": int(array.max())},
        )
