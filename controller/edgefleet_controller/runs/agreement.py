"""Compares what the device names for every evaluation sample with what the compiling host named."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import RunReport
from edgefleet_agent.wire.samples import SamplesInvalid as UnreadableSamples
from edgefleet_agent.wire.samples import decode_samples
from edgefleet_controller import errors
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.tables import Artifact, Run, Variant

JsonObject = dict[str, Any]
PREDICTIONS = "predictions"
MAX_LISTED = 20
"""So many of the samples that differ are listed, for a person to look at."""


def host_agreement(session: Session, run: Run, report: RunReport, blobs: BlobStore) -> JsonObject | None:
    """Share of the samples for which device and host name the same class; None without predictions of both.

    Raises SamplesInvalid for predictions of the device that cannot be read or lie outside the evaluation set.
    """
    theirs = report.samples.get(PREDICTIONS)
    ours = _host_predictions(session, run, blobs)
    if theirs is None or ours is None:
        return None
    with blobs.open(theirs.sha256) as file:
        samples, classes = _device_predictions(file.read(), len(ours))
    differ = [sample for sample, name in zip(samples, classes, strict=True) if ours[sample] != name]
    return compare(len(samples), differ)


def compare(n: int, differ: Sequence[int]) -> JsonObject:
    """The figures that a row shows."""
    return {"share": 1 - len(differ) / n, "n": n, "n_disagree": len(differ), "samples": list(differ[:MAX_LISTED])}


def _host_predictions(session: Session, run: Run, blobs: BlobStore) -> Sequence[int] | None:
    variant = session.get(Variant, run.variant_id) if run.variant_id is not None else None
    artifact = session.get(Artifact, variant.artifact_key) if variant is not None and variant.artifact_key else None
    ref: Mapping[str, Any] | None = artifact.accuracy_host.get(PREDICTIONS) if artifact is not None else None
    if ref is None or not blobs.exists(str(ref["sha256"])):
        return None
    with blobs.open(str(ref["sha256"])) as file:
        content = file.read()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return [int(value) for value in archive["prediction"]]
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as err:
        raise errors.StoreUnavailable(
            f"The host's predictions {ref['sha256']} are damaged in the store: {err}."
        ) from err


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
