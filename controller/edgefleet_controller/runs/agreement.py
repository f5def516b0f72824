"""Compares what the device names for every evaluation sample with what the compiling host named, and with the labels."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import RunReport
from edgefleet_agent.wire.samples import SamplesInvalid as UnreadableSamples
from edgefleet_agent.wire.samples import decode_samples
from edgefleet_compression.metrics import prediction_metrics
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.tables import Artifact, Variant
from edgefleet_controller.errors import StoreUnavailable
from edgefleet_controller.runs import errors
from edgefleet_controller.runs.held import HeldRun

JsonObject = dict[str, Any]
Array = NDArray[Any]
PREDICTIONS = "predictions"
MAX_LISTED = 20
"""So many of the samples that differ are listed, for a person to look at."""


@dataclass(frozen=True)
class CheckedPredictions:
    """What a device's predictions show; None without predictions of both sides, metrics without labels too."""

    agreement: JsonObject | None = None
    metrics: JsonObject | None = None


@dataclass(frozen=True)
class _HostAnswers:
    """What the compiling host left of its own evaluation."""

    predicted: Array
    labels: Array | None
    n_classes: int


def check_predictions(session: Session, run: HeldRun, report: RunReport, blobs: BlobStore) -> CheckedPredictions:
    """Agreement with the host (share of samples for which both name the same class), and metrics against the labels.

    Raises SamplesInvalid for predictions of the device that cannot be read or lie outside the evaluation set.
    """
    theirs = report.samples.get(PREDICTIONS)
    ours = _host_answers(session, run, blobs) if theirs is not None else None
    if theirs is None or ours is None:
        return CheckedPredictions()
    with blobs.open(theirs.sha256) as file:
        samples, classes = _device_predictions(file.read(), len(ours.predicted))
    differ = [sample for sample, name in zip(samples, classes, strict=True) if ours.predicted[sample] != name]
    return CheckedPredictions(compare(len(samples), differ), _metrics(samples, classes, ours))


def _metrics(samples: Sequence[int], classes: Sequence[int], ours: _HostAnswers) -> JsonObject | None:
    if ours.labels is None:
        return None
    found = prediction_metrics(np.array(classes), ours.labels[np.array(samples)], n_classes=ours.n_classes)
    return {**found.model_dump(), "n": len(samples)}


def compare(n: int, differ: Sequence[int]) -> JsonObject:
    """The figures that a row shows."""
    return {"share": 1 - len(differ) / n, "n": n, "n_disagree": len(differ), "samples": list(differ[:MAX_LISTED])}


def _host_answers(session: Session, run: HeldRun, blobs: BlobStore) -> _HostAnswers | None:
    variant = session.get(Variant, run.variant_id) if run.variant_id is not None else None
    artifact = session.get(Artifact, variant.artifact_key) if variant is not None and variant.artifact_key else None
    ref: Mapping[str, Any] | None = artifact.accuracy_host.get(PREDICTIONS) if artifact is not None else None
    if ref is None or not blobs.exists(str(ref["sha256"])):
        return None
    with blobs.open(str(ref["sha256"])) as file:
        content = file.read()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            has_labels = "label" in archive.files  # a file from before metrics has none
            return _HostAnswers(
                predicted=archive["prediction"],
                labels=archive["label"] if has_labels else None,
                n_classes=int(archive["n_classes"]) if has_labels else 0,
            )
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as err:
        raise StoreUnavailable(f"The host's predictions {ref['sha256']} are damaged in the store: {err}.") from err


def _device_predictions(blob: bytes, n_available: int) -> tuple[list[int], list[int]]:
    try:
        _, columns = decode_samples(blob)
    except UnreadableSamples as err:
        raise errors.SamplesInvalid(f"The predictions cannot be read: {err}.") from err
    samples, classes = columns.get("sample"), columns.get("prediction")
    if not samples or not classes:
        raise errors.SamplesInvalid("The predictions have no columns sample and prediction.")
    if min(samples) < 0 or max(samples) >= n_available:
        raise errors.SamplesInvalid(f"The predictions name a sample outside the {n_available} of the evaluation set.")
    return samples, classes
