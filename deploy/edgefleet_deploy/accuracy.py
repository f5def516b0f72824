"""Accuracy of the artifact itself, run under its runtime on this host, over an evaluation set."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgefleet_agent.wire.reasons import Reason
from edgefleet_deploy.compiler import LoadedFile
from edgefleet_deploy.errors import DataUnusable
from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_session import fit_inputs

Array = NDArray[Any]


PREDICTIONS_FILE = "predictions.npz"


class HostAccuracy(BaseModel):
    """Share of correct answers; ``value`` is null with a reason where it could not be measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: Literal["top1"] = Field(default="top1", description="Largest entry of the first output is the label.")
    value: float | None = Field(description="n_correct over n, 0 to 1.")
    n: int = Field(ge=0, description="Samples evaluated.")
    n_correct: int = Field(ge=0, description="Samples answered correctly.")
    reason: str | None = Field(default=None, description="Why value is null.")


def unknown_accuracy(reason: Reason) -> HostAccuracy:
    """Return an accuracy that was not measured, with the reason."""
    return HostAccuracy(value=None, n=0, n_correct=0, reason=reason.value)


def read_evaluation(path: Path) -> tuple[dict[str, Array], Array | None]:
    """Return (input arrays by name, labels or None) of an evaluation file: npz with ``x`` or input names, and ``y``.

    Pickled arrays are never loaded; DataUnusable says what is wrong.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
        raise DataUnusable(
            f"evaluation set {path.name} cannot be read ({err}): write it with numpy.savez, without objects",
            code="evaluation_unreadable",
        ) from err
    labels = arrays.pop("y", None)
    lengths = {len(value) for value in arrays.values()} | ({len(labels)} if labels is not None else set())
    if not arrays or len(lengths) != 1 or lengths == {0}:
        raise DataUnusable(
            f"evaluation set {path.name} needs inputs and labels of one length above 0, it has lengths {sorted(lengths)}",
            code="evaluation_unreadable",
        )
    return arrays, labels


def evaluate(
    loaded: LoadedFile, specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array], labels: Array | None
) -> tuple[HostAccuracy, Array | None]:
    """Return top-1 accuracy and the class named for every sample, int64 (n,), of a loaded artifact.

    inputs: name -> (n, ...); labels: integers (n,). The classes are None where the first output is no score per class or
    not finite.
    """
    scores = next(iter(loaded.run(fit_inputs(specs, inputs)).values()))
    if scores.ndim < 2 or scores.shape[1] < 2 or int(np.prod(scores.shape[2:])) != 1:
        return unknown_accuracy(Reason.NO_LABELS if labels is None else Reason.NOT_MEASURED), None
    if not np.isfinite(scores).all():
        return unknown_accuracy(Reason.NON_FINITE_OUTPUT), None
    classes = scores.reshape(len(scores), -1).argmax(axis=1).astype(np.int64)
    if labels is None:
        return unknown_accuracy(Reason.NO_LABELS), classes
    n_correct = int(np.count_nonzero(classes == labels))
    return HostAccuracy(value=n_correct / len(labels), n=len(labels), n_correct=n_correct), classes


def write_predictions(classes: Array) -> bytes:
    """Return an npz file with the array ``prediction``, int64 (n,): the class named for every sample of the set."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, prediction=classes)
    return buffer.getvalue()
