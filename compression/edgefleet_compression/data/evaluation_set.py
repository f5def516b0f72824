"""The evaluation set that devices get: the test split of a data set, as an .npz file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split, check_labels
from edgefleet_compression.data.fitting import check_tokens
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.errors import DataInvalid
from edgefleet_compression.inspection import ModelFacts, TensorFacts, inspect_model_file

FILE_NAME: Final = "evaluation.npz"
UINT8_SCALE: Final = np.float32(255.0)


def prepare(document: Mapping[str, Any] | None, *, model: Path | None, output_dir: Path) -> dict[str, Any]:
    """Write ``evaluation.npz`` (``x``, or one array per input name, and ``y`` if labelled); return its description.

    Without a data set there is no file; calibration is then random.
    """
    facts = inspect_model_file(model) if model is not None else None
    data = load_data(document)
    if data is None:
        return {
            "evaluation": None,
            "n_evaluation": 0,
            "data_sha256": None,
            "has_labels": False,
            "calibration_source": "random",
        }
    if facts is not None:
        check_against_model(data, facts)
    split = as_model_takes_it(data.test, facts)
    _write(split, output_dir / FILE_NAME)
    return {
        "evaluation": FILE_NAME,
        "n_evaluation": len(split),
        "data_sha256": data.sha256(),
        "has_labels": split.y is not None,
        "calibration_source": "train",
    }


def check_against_model(data: DataSet, facts: ModelFacts) -> None:
    """Raise DataInvalid unless the arrays fit the model's inputs and the labels its classes."""
    n_classes = _n_classes(facts)
    if len(facts.inputs) == 1 and len(data.train.inputs) == 1:
        for split in (data.train, data.validation, data.test):
            _check_array(facts.inputs[0], split.x)
        check_labels(data, n_classes)
        return
    wanted, found = sorted(item.name for item in facts.inputs), sorted(data.train.inputs)
    if wanted != found:
        raise DataInvalid(
            f"The model has the inputs {wanted}, the data set the arrays {found}: name one array after each input.",
            code="data_inputs_mismatch",
            detail={"expected": wanted, "found": found},
        )
    for split in (data.train, data.validation, data.test):
        for item in facts.inputs:
            _check_array(item, split.inputs[item.name])
    check_labels(data, n_classes)


def _n_classes(facts: ModelFacts) -> int | None:
    """Classes that the model tells apart: its task's, else the width of a first output (batch, n_classes)."""
    if facts.task:
        return facts.task.get("n_classes")
    shape = facts.outputs[0].shape if facts.outputs else []
    return shape[1] if len(shape) == 2 else None


def as_model_takes_it(split: Split, facts: ModelFacts | None) -> Split:
    """Return the samples in the model's input type: uint8 is scaled to 0..1 where the model takes float32."""
    types = {item.name: item.dtype for item in facts.inputs} if facts else {}
    if facts and len(facts.inputs) == 1 and len(split.inputs) == 1:
        types = dict.fromkeys(split.inputs, facts.inputs[0].dtype)
    return Split({name: _as_type(array, types.get(name, "float32")) for name, array in split.inputs.items()}, split.y)


def _as_type(array: Array, dtype: str) -> Array:
    if dtype == "float32" and array.dtype == np.uint8:
        return array.astype(np.float32) / UINT8_SCALE
    return array if dtype == "unsupported" else array.astype(dtype)


def _check_array(item: TensorFacts, array: Array) -> None:
    found = list(array.shape[1:])
    expected = item.shape[1:]
    fits = len(found) == len(expected) and all(
        want is None or want == have for want, have in zip(expected, found, strict=True)
    )
    if not fits:
        raise DataInvalid(
            f"Input {item.name} takes samples of shape {expected}, the data set has {found}.",
            code="data_shape_mismatch",
            detail={"expected": expected, "found": found},
        )
    if item.n_values is not None:
        check_tokens(array, n_values=item.n_values)


def _write(split: Split, path: Path) -> None:
    arrays = dict(split.inputs) if split.y is None else {**split.inputs, "y": split.y}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    partial.replace(path)
