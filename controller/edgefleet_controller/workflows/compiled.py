"""The files that a compile step leaves beside the artifact: golden outputs and the host's predictions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.tables import Artifact
from edgefleet_controller.engine.child_process import StepFailed
from edgefleet_controller.workflows.compute import result_file

JsonObject = dict[str, Any]

COMPILED_FILES = ("artifact", "golden", "predictions")
"""What a compilation leaves; part of the cache's key, so that one from before golden outputs is not taken for a new one."""


@dataclass(frozen=True)
class CompiledFiles:
    """Where the files of a compilation lie in the store.

    accuracy_host: the step's figures with the reference of the host's predictions.
    """

    artifact: BlobRef
    beside: tuple[BlobRef, ...]
    accuracy_host: JsonObject


def store_compiled(blobs: BlobStore, folder: Path, result: Mapping[str, Any]) -> CompiledFiles:
    """Put the step's files into the store; StepFailed where one is missing or is not what the manifest names."""
    artifact = blobs.put_file(result_file(folder, result, "artifact"))
    golden = _put_optional(blobs, folder, result, "golden")
    stated = (result["manifest"].get("golden") or {}).get("sha256")
    if stated != (golden.sha256 if golden is not None else None):
        raise StepFailed("step_protocol", f"the manifest names golden outputs {stated}, the step left {golden}")
    predictions = _put_optional(blobs, folder, result, "predictions")
    ref = predictions.model_dump(mode="json") if predictions is not None else None
    return CompiledFiles(
        artifact=artifact,
        beside=tuple(blob for blob in (golden, predictions) if blob is not None),
        accuracy_host={**result["accuracy_host"], "predictions": ref},
    )


def _put_optional(blobs: BlobStore, folder: Path, result: Mapping[str, Any], field: str) -> BlobRef | None:
    return blobs.put_file(result_file(folder, result, field)) if result.get(field) else None


def golden_ref(manifest: Mapping[str, Any]) -> JsonObject | None:
    """The golden outputs as an order names them; None where the artifact has none."""
    golden = manifest.get("golden")
    return {name: golden[name] for name in ("sha256", "size_bytes")} if golden else None


def stored_files(row: Artifact) -> Iterator[str]:
    """Hashes of all files that a cached compilation needs."""
    yield row.sha256
    for ref in (row.manifest.get("golden"), row.accuracy_host.get("predictions")):
        if ref:
            yield str(ref["sha256"])
