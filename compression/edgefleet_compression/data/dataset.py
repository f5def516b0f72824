"""What a data set is: named input arrays and labels in three splits."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgefleet_compression.errors import DataInvalid

Array = npt.NDArray[Any]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Samples: every array of ``inputs`` and ``y`` has the samples along axis 0; ``y`` is None without labels."""

    inputs: Mapping[str, Array]
    y: Array | None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise DataInvalid("A split has no input array.", code="data_empty")
        lengths = {name: len(array) for name, array in self.inputs.items()}
        if self.y is not None:
            lengths["y"] = len(self.y)
        if len(set(lengths.values())) > 1:
            raise DataInvalid(
                f"Arrays of one split must have the same number of samples, got {lengths}.", code="data_length_mismatch"
            )

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def x(self) -> Array:
        """The only input array; raises DataInvalid for a data set of several inputs."""
        if len(self.inputs) != 1:
            raise DataInvalid(
                f"This step takes one input array, the data set has {sorted(self.inputs)}.", code="data_multiple_inputs"
            )
        return next(iter(self.inputs.values()))

    def take(self, indices: Array) -> "Split":
        """Return the samples at these indices."""
        y = None if self.y is None else self.y[indices]
        return Split({name: array[indices] for name, array in self.inputs.items()}, y)


@dataclass(frozen=True)
class DataSet:
    """Three disjoint splits. Calibration and training use train, choices validation, reported accuracy test only."""

    name: str
    train: Split
    validation: Split
    test: Split

    @property
    def has_labels(self) -> bool:
        """True if every split has labels."""
        return all(split.y is not None for split in (self.train, self.validation, self.test))

    @property
    def n_classes(self) -> int | None:
        """Largest label plus one, None without labels."""
        labels = [split.y for split in (self.train, self.validation, self.test) if split.y is not None and len(split)]
        return int(max(y.max() for y in labels)) + 1 if labels else None

    def sha256(self) -> str:
        """Return the sha256 over names, types, shapes and bytes of all arrays of all splits."""
        digest = hashlib.sha256()
        for split_name in SPLITS:
            split: Split = getattr(self, split_name)
            arrays = dict(split.inputs) if split.y is None else {**split.inputs, "y": split.y}
            for name in sorted(arrays):
                array = np.ascontiguousarray(arrays[name])
                digest.update(f"{split_name}/{name}:{array.dtype.str}{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()


def require_labels(data: DataSet | None, purpose: str) -> DataSet:
    """Return the data set, or raise DataInvalid: ``purpose`` (for example ``train``) cannot do without labels."""
    if data is None:
        raise DataInvalid(f"{purpose} needs a data set: give one with the job.", code="data_missing")
    if not data.has_labels:
        raise DataInvalid(f"{purpose} needs labels: add an integer array y to the data set.", code="labels_missing")
    return data


def check_shape(data: DataSet, shape: tuple[int, ...]) -> None:
    """Raise DataInvalid ``data_shape_mismatch`` unless samples have this shape (without the batch)."""
    found = tuple(data.train.x.shape[1:])
    if found != shape:
        raise DataInvalid(
            f"The model takes samples of shape {list(shape)}, data set {data.name!r} has {list(found)}.",
            code="data_shape_mismatch",
            detail={"expected": list(shape), "found": list(found)},
        )


def check_labels(data: DataSet, n_classes: int | None) -> None:
    """Raise DataInvalid unless all labels lie below ``n_classes``; None, or no labels, is never wrong."""
    if n_classes is not None and data.n_classes is not None and data.n_classes > n_classes:
        raise DataInvalid(
            f"Data set {data.name!r} has labels up to {data.n_classes - 1}, the model has {n_classes} classes "
            f"(0..{n_classes - 1}).",
            code="labels_out_of_range",
            detail={"n_classes_model": n_classes, "n_classes_data": data.n_classes},
        )
