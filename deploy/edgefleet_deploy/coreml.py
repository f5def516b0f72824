"""The Core ML compiler: a torch network becomes a zipped ``.mlpackage``. coremltools is optional (extra ``coreml``).

coremltools converts on Linux but runs models on macOS only, so that parity cannot be checked here: the manifest says
``not run on this host`` and no golden outputs travel with the file. Seen with coremltools 9.0 and torch 2.13.
"""

import contextlib
import importlib
import io
import json
import logging
import platform
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import torch

from edgefleet_compression.candidate import Candidate, TorchCandidate, Traits
from edgefleet_compression.precision import Precision
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import CandidateRefused, CompilerFailed, CompilerUnavailable, HostCannotRun
from edgefleet_deploy.manifest import ParityReport, ParityTolerance, TensorSpec
from edgefleet_deploy.onnx import merged_notes
from edgefleet_deploy.onnx_export import OUTPUT_NAME, refuse_non_finite
from edgefleet_deploy.targets import Target

PARITY_NOT_RUN: Final = "parity_not_run"
"""Note: nothing here could run the file; what it computes is not known before a Mac or an iPhone has run it."""

WHY_NOT_RUN: Final = "Core ML runs on macOS and iOS only, and this host is neither"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_KEPT: Final = (".mlmodel", ".bin")


@dataclass(frozen=True)
class _Tools:
    """coremltools and its weight quantizer, imported."""

    convert: Any
    optimize: Any


class CoreMlCompiler:
    """Writes zipped .mlpackage files."""

    runtime = "coreml"

    def refuse(self, traits: Traits, target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None."""
        if target.file_format != "mlpackage":
            return f"this compiler writes mlpackage files, target {target.name} takes {target.file_format}"
        if traits.form != "torch":
            return "coremltools converts torch networks, not ONNX files: give the network as safetensors"
        if traits.precision not in target.precisions:
            return f"target {target.name} takes {', '.join(target.precisions)}, this candidate is {traits.precision}"
        return None

    def compile(self, candidate: Candidate, context: CompileContext) -> CompiledFile:
        """Return the package; CompilerUnavailable where coremltools is not installed."""
        reason = self.refuse(candidate.traits, context.target)
        if reason is not None or not isinstance(candidate, TorchCandidate):
            raise CandidateRefused(reason or "coremltools converts torch networks only")
        refuse_non_finite(candidate.model)
        tools = _import_tools()
        context.progress(0.1, "converting to Core ML")
        spec = candidate.structure.input
        package = context.work_dir / "model.mlpackage"
        with _quiet():
            converted = _convert(tools, candidate)
            converted.save(str(package))
        return CompiledFile(
            payload=zip_package(package),
            precision=candidate.traits.precision,
            opset=0,
            ir_version=0,
            min_runtime_version=context.target.min_version,
            inputs=(TensorSpec(name=spec.name, shape=(1, *spec.shape), dtype=_fed_as(spec.dtype)),),
            outputs=(TensorSpec(name=OUTPUT_NAME, shape=(1, candidate.structure.task.n_classes), dtype="float32"),),
            parity=parity_not_run(WHY_NOT_RUN),
            tool_versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "coremltools": str(tools.convert.__version__),
                "numpy": np.__version__,
            },
            notes=merged_notes((PARITY_NOT_RUN,), candidate),
        )

    def open(self, payload: bytes, *, threads: int) -> NoReturn:
        """Raise HostCannotRun: this host has no Core ML."""
        del payload, threads
        raise HostCannotRun(f"{WHY_NOT_RUN}: measure the artifact there")


def _import_tools() -> _Tools:
    try:
        with _quiet():
            convert = importlib.import_module("coremltools")
            optimize = importlib.import_module("coremltools.optimize.coreml")
    except ImportError as err:
        raise CompilerUnavailable(
            "Core ML files need coremltools, which is not installed here: pip install 'edgefleet[coreml]'",
            detail={"missing": "coremltools"},
        ) from err
    return _Tools(convert, optimize)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tool's progress bars and its warnings about versions of others out of the step's protocol."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def _convert(tools: _Tools, candidate: TorchCandidate) -> Any:
    """Return the ML program (iOS 16, macOS 13: the first with float16 inputs and compressed weights), batch 1."""
    precision, spec = candidate.traits.precision, candidate.structure.input
    sample = torch.ones(1, *spec.shape, dtype=getattr(torch, spec.dtype))
    kit = tools.convert
    half = precision == "fp16"
    try:
        program = torch.export.export(candidate.model.eval(), (sample,)).run_decompositions({})
        model = kit.convert(
            program,
            outputs=[kit.TensorType(name=OUTPUT_NAME)],
            convert_to="mlprogram",
            minimum_deployment_target=kit.target.iOS16,
            compute_precision=kit.precision.FLOAT16 if half else kit.precision.FLOAT32,
            skip_model_load=True,
        )
        return _named(tools, _stored(tools, model, precision), spec.name)
    except (ValueError, TypeError, RuntimeError, NotImplementedError, AssertionError) as err:
        raise CompilerFailed(
            f"coremltools {kit.__version__} cannot convert the network ({type(err).__name__}: {str(err)[:400]}): choose "
            "another target",
            detail={"error": str(err)[:2000]},
        ) from err


def _stored(tools: _Tools, model: Any, precision: Precision) -> Any:
    if precision != "int8-weights":
        return model
    settings = tools.optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8")
    return tools.optimize.linear_quantize_weights(model, tools.optimize.OptimizationConfig(global_config=settings))


def _named(tools: _Tools, model: Any, name: str) -> Any:
    """Return the model with its one input under the candidate's name; torch.export calls it as the argument is called."""
    document = model.get_spec()
    found = document.description.input[0].name
    if found == name:
        return model
    tools.convert.utils.rename_feature(document, found, name, rename_inputs=True, rename_outputs=False)
    return tools.convert.models.MLModel(document, weights_dir=model.weights_dir, skip_model_load=True)


def _fed_as(dtype: str) -> str:
    return "int32" if dtype == "int64" else dtype  # Core ML has no int64 inputs


def parity_not_run(reason: str) -> ParityReport:
    """Return the report of a file that nothing on this host can run."""
    return ParityReport(
        reference="torch",
        samples="random",
        n_samples=0,
        outputs=(),
        tolerance=ParityTolerance(
            max_diff_ratio=None, max_diff_steps=None, min_snr_db=None, min_top1_agreement_clear=None
        ),
        not_run_reason=reason,
    )


def zip_package(package: Path) -> bytes:
    """Return the package as one zip; equal networks give equal bytes (no times, its own identifiers instead of random
    ones, debug maps left out).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "model.mlpackage/Manifest.json", _package_manifest())
        for path in sorted(item for item in package.rglob("*") if item.suffix in _KEPT):
            _add(archive, f"model.mlpackage/{path.relative_to(package).as_posix()}", path.read_bytes())
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)


def _package_manifest() -> bytes:
    """Return the manifest coremltools writes, with fixed identifiers."""
    items = {"model.mlmodel": "CoreML Model Specification", "weights": "CoreML Model Weights"}
    entries = {
        f"00000000-0000-4000-8000-00000000000{number}": {
            "author": "com.apple.CoreML",
            "description": description,
            "name": name,
            "path": f"com.apple.CoreML/{name}",
        }
        for number, (name, description) in enumerate(items.items(), start=1)
    }
    document = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": next(iter(entries)),
    }
    return json.dumps(document, indent=2).encode()
