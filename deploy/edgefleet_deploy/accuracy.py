"""Accuracy of the artifact itself, run under its runtime on this host, over an evaluation set."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgefleet_agent.wire.reasons import Reason
from edgefleet_compression.metrics import TaskMetrics, classification_metrics
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
    metrics: TaskMetrics | None = Field(default=None, description="Figures beyond top-1; null where value is.")


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


@dataclass(frozen=True)
class NamedClasses:
    """What the artifact answered on this host, and what a device's predictions are scored with."""

    predicted: Array
    """int64 (n,): the class named for every sample of the set."""
    labels: Array | None
    """int64 (n,); None without labels."""
    n_classes: int


def evaluate(
    loaded: LoadedFile, specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array], labels: Array | None
) -> tuple[HostAccuracy, NamedClasses | None]:
    """Return accuracy, with metrics beyond top-1, and the classes named by a loaded artifact.

    inputs: name -> (n, ...); labels: integers (n,). The classes are None where the first output is no score per class or
    not finite.
    """
    scores = next(iter(loaded.run(fit_inputs(specs, inputs)).values()))
    if scores.ndim < 2 or scores.shape[1] < 2 or int(np.prod(scores.shape[2:])) != 1:
        return unknown_accuracy(Reason.NO_LABELS if labels is None else Reason.NOT_MEASURED), None
    if not np.isfinite(scores).all():
        return unknown_accuracy(Reason.NON_FINITE_OUTPUT), None
    scores = scores.reshape(len(scores), -1)
    predicted = scores.argmax(axis=1).astype(np.int64)
    named = NamedClasses(predicted, labels, n_classes=scores.shape[1])
    if labels is None:
        return unknown_accuracy(Reason.NO_LABELS), named
    n_correct = int(np.count_nonzero(predicted == labels))
    metrics = classification_metrics(scores, labels)
    return HostAccuracy(value=n_correct / len(labels), n=len(labels), n_correct=n_correct, metrics=metrics), named


def write_predictions(named: NamedClasses) -> bytes:
    """Return an npz file with ``prediction`` and ``n_classes``, and ``label`` where there are labels."""
    arrays: dict[str, Any] = {"prediction": named.predicted, "n_classes": np.array(named.n_classes)}
    if named.labels is not None:
        arrays["label"] = named.labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
