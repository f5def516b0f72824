"""What somebody needs to measure the same once more: one archive with the files, the report and the line to type."""

import json
import shlex
import tempfile
import zipfile
from typing import IO, Any

from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.results.run_record import RunRecord

CHUNK_BYTES = 1 << 20
JsonObject = dict[str, Any]
_OPTIONS = {"threads": "--threads", "batch": "--batch", "seconds": "--seconds", "seed": "--seed"}
_OPTIONS |= {"warmup_seconds": "--warmup-seconds", "launches": "--launches", "provider": "--provider"}
_OPTIONS |= {"delegate": "--delegate", "cool_down_c": "--cool-down", "rate_per_s": "--rate", "mode": "--mode"}


def command_of(record: RunRecord) -> str:
    """The line that measures the artifact again on a board, with the settings of the run."""
    order = record.run.order
    words = [
        "edgefleet-agent",
        "bench",
        str(order.get("artifact_name", "model")),
        "--runtime",
        str(order.get("runtime")),
    ]
    settings = order.get("settings") or {}
    for name, option in _OPTIONS.items():
        value = settings.get(name)
        if value is not None and not (name == "mode" and value == "back_to_back"):
            words += [option, str(value).replace("_", "-") if name == "mode" else str(value)]
    for name in ("evaluation", "golden"):
        if order.get(name):
            words += [f"--{name}", f"{name}.npz"]
    return shlex.join([*words, "--json", "report-again.json"])


def write_bundle(record: RunRecord, blobs: BlobStore) -> IO[bytes]:
    """The archive as an open temporary file at its beginning; files that are no longer stored are named in its README."""
    order, report = record.run.order, record.report
    files = {str(order.get("artifact_name", "model")): order.get("artifact")}
    files |= {f"{name}.npz": order.get(name) for name in ("evaluation", "golden")}
    files |= {str(order.get("profile_name")): order.get("profile")}
    files |= {f"samples/{name}.edgefleet-samples": ref for name, ref in (report.get("samples") or {}).items()}
    named = {name: ref["sha256"] for name, ref in files.items() if ref is not None}
    lost = [name for name, sha256 in named.items() if not blobs.exists(sha256)]
    archive = tempfile.TemporaryFile()  # noqa: SIM115  # the caller sends and closes it
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("README.txt", _readme(record, named, lost))
        bundle.writestr("order.json", _json(order))
        bundle.writestr("report.json", _json(report))
        if record.variant is not None:
            bundle.writestr("recipe.json", _json(record.variant.recipe))
        if record.artifact is not None:
            bundle.writestr("manifest.json", _json(record.artifact.manifest))
        for name, sha256 in named.items():
            if name not in lost:
                with blobs.open(sha256) as source, bundle.open(name, "w") as target:
                    while chunk := source.read(CHUNK_BYTES):
                        target.write(chunk)
    archive.seek(0)
    return archive


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _readme(record: RunRecord, named: dict[str, str], lost: list[str]) -> str:
    environment = record.report.get("environment") or {}
    again = ["Measure it again on a board of the same kind, in this folder:", "", f"    {command_of(record)}"]
    lines = [
        f"Run {record.run.id}: {record.title}",
        "",
        *(["Imported from another tool; its file is in this folder."] if "profile" in record.run.order else again),
        "",
        f"Measured with: {_json(environment.get('runtime') or {}).strip()}",
        f"on: {_json(environment.get('host') or {}).strip()}",
        "",
        "SHA-256 of the files:",
        *(f"  {sha256}  {name}" for name, sha256 in named.items()),
    ]
    if lost:
        lines += ["", f"No longer stored, and not in this archive: {', '.join(lost)}"]
    return "\n".join(lines) + "\n"
