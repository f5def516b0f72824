"""The compile step as a child process: ``python -m edgefleet_deploy.step``.

Protocol: edgefleet_compression.child. Task ``compile`` takes {candidate, target, data, evaluation, recipe_sha256, seed,
threads, output_dir} and answers {artifact, golden, predictions, manifest, parity, accuracy_host, notes}; ``artifact``,
``golden`` (null where no typical sample was at hand) and ``predictions`` (the class this host names for every sample of
the evaluation set, null where there is none) are file names in output_dir.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_agent.wire.reasons import Reason
from edgefleet_compression.child import Emit, run_child
from edgefleet_compression.errors import CompressionError
from edgefleet_deploy.accuracy import (
    PREDICTIONS_FILE,
    HostAccuracy,
    NamedClasses,
    evaluate,
    read_evaluation,
    unknown_accuracy,
    write_predictions,
)
from edgefleet_deploy.compiler import CompileContext, CompiledFile, Compiler, compiler_for
from edgefleet_deploy.errors import CompileRequestInvalid, DeployError
from edgefleet_deploy.golden import GOLDEN_FILE, GOLDEN_TOLERANCE_DB, GoldenPair, write_golden
from edgefleet_deploy.manifest import ArtifactManifest, GoldenRecord, file_sha256
from edgefleet_deploy.targets import Target, target_from_request


class CompileRequest(BaseModel):
    """One compile request; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: str
    candidate: Path = Field(description="Candidate file, .safetensors or .onnx.")
    target: dict[str, Any] = Field(description="{name, min_version}.")
    data: dict[str, Any] | None = Field(default=None, description="Data set for calibration and comparison.")
    evaluation: Path | None = Field(default=None, description="Evaluation set, npz.")
    recipe_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the recipe.")
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")
    threads: int = Field(default=1, ge=1, le=256, description="Threads of torch and of the runtime.")
    output_dir: Path = Field(description="Directory for the artifact; made if it is not there.")


def compile_task(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Carry out a compile request and return its JSON-safe result; the artifact appears whole or not at all."""
    wanted = _parse(request)
    target = target_from_request(wanted.target)
    compiler = compiler_for(target)
    wanted.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".compile-", dir=wanted.output_dir) as work_dir:
        compiled = _compile(wanted, target, compiler, Path(work_dir), emit)
        emit(0.8, "measuring accuracy on this host")
        accuracy, named = _accuracy(compiler, compiled, wanted)
        if named is not None:
            _write_atomically(write_predictions(named), Path(work_dir), wanted.output_dir / PREDICTIONS_FILE)
        _write_atomically(compiled.payload, Path(work_dir), wanted.output_dir / target.file_name)
        if compiled.golden is not None:
            _write_atomically(write_golden(compiled.golden), Path(work_dir), wanted.output_dir / GOLDEN_FILE)
    manifest = describe(compiled, wanted.output_dir / target.file_name, wanted, target)
    return {
        "artifact": target.file_name,
        "predictions": PREDICTIONS_FILE if named is not None else None,
        "golden": GOLDEN_FILE if compiled.golden is not None else None,
        "manifest": manifest.model_dump(mode="json"),
        "parity": compiled.parity.model_dump(mode="json"),
        "accuracy_host": accuracy.model_dump(mode="json"),
        "notes": list(compiled.notes),
    }


def _parse(request: Mapping[str, Any]) -> CompileRequest:
    try:
        return CompileRequest.model_validate(request)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        raise CompileRequestInvalid(f"compile request: {where}: {first['msg']}", detail={"field": where}) from err


def _compile(wanted: CompileRequest, target: Target, compiler: Compiler, work_dir: Path, emit: Emit) -> CompiledFile:
    # imported here: both load torch, and a request that is refused should not wait for it
    import torch

    from edgefleet_compression.candidate import load_candidate
    from edgefleet_compression.data.registry import load_data

    torch.set_num_threads(wanted.threads)
    emit(0.01, "loading the candidate")
    context = CompileContext(
        target=target,
        work_dir=work_dir,
        data=load_data(wanted.data),
        seed=wanted.seed,
        threads=wanted.threads,
        progress=lambda fraction, message: emit(fraction, message),
    )
    return compiler.compile(load_candidate(wanted.candidate), context)


def _accuracy(
    compiler: Compiler, compiled: CompiledFile, wanted: CompileRequest
) -> tuple[HostAccuracy, NamedClasses | None]:
    if wanted.evaluation is None:
        return unknown_accuracy(Reason.NO_EVALUATION_DATA), None
    inputs, labels = read_evaluation(wanted.evaluation)
    if compiled.parity.not_run_reason is not None:
        return unknown_accuracy(Reason.NOT_MEASURED), None
    payload = compiled.payload if compiled.host_payload is None else compiled.host_payload
    loaded = compiler.open(payload, threads=wanted.threads)
    return evaluate(loaded, compiled.inputs, inputs, labels)


def _write_atomically(payload: bytes, work_dir: Path, path: Path) -> None:
    partial = work_dir / path.name
    with partial.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def describe(compiled: CompiledFile, path: Path, wanted: CompileRequest, target: Target) -> ArtifactManifest:
    """Return the manifest of the file as it lies on disk."""
    return ArtifactManifest(
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        file_name=target.file_name,
        format=target.file_format,
        target=target.name,
        runtime=target.runtime,
        min_runtime_version=compiled.min_runtime_version,
        precision=compiled.precision,
        opset=compiled.opset,
        ir_version=compiled.ir_version,
        inputs=compiled.inputs,
        outputs=compiled.outputs,
        recipe_sha256=wanted.recipe_sha256,
        candidate_sha256=file_sha256(wanted.candidate),
        tool_versions=compiled.tool_versions,
        parity=compiled.parity,
        float_snr_db=compiled.float_snr_db,
        operators=compiled.operators,
        build_plan=compiled.build_plan,
        graph=compiled.graph,
        edgetpu=compiled.edgetpu,
        golden=_record(compiled.golden, wanted.output_dir / GOLDEN_FILE),
        notes=compiled.notes,
    )


def _record(pair: GoldenPair | None, path: Path) -> GoldenRecord | None:
    if pair is None:
        return None
    return GoldenRecord(
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        n_samples=pair.n_samples,
        source=pair.source,
        tolerance_db=GOLDEN_TOLERANCE_DB,
        host_snr_db=dict(pair.host_snr_db),
    )


def main() -> int:
    """Serve the one request on stdin; return the exit status."""
    return run_child({"compile": compile_task}, error_roots=(DeployError, CompressionError))


if __name__ == "__main__":
    sys.exit(main())
