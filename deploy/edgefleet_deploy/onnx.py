"""The ONNX compiler: torch networks and people's own ONNX graphs become lean files for onnxruntime."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edgefleet_compression.candidate import Candidate, OnnxCandidate, TorchCandidate, Traits
from edgefleet_compression.precision import Precision
from edgefleet_deploy import onnx_calibration
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import CandidateRefused, ParityFailed
from edgefleet_deploy.golden import make_golden
from edgefleet_deploy.manifest import ParityReport, TensorSpec
from edgefleet_deploy.onnx_export import export_module, refuse_non_finite, run_module
from edgefleet_deploy.onnx_files import copy_model, name_batch, opset_candidates, refuse_unsupported
from edgefleet_deploy.onnx_operators import count_operators
from edgefleet_deploy.onnx_optimization import optimize_graph
from edgefleet_deploy.onnx_session import OnnxSession, saturates_products
from edgefleet_deploy.onnx_versions import ir_version_for, min_onnxruntime_version, opset_of
from edgefleet_deploy.parity import FP32_TOLERANCE, INT8_TOLERANCE, check_parity, snr_db
from edgefleet_deploy.samples import Samples, calibration_samples, parity_samples
from edgefleet_deploy.targets import Target, parse_version

Array = NDArray[Any]

MANY_WEIGHTS = 10_000
"""From here on weights outweigh the graph's own bytes, and an int8 file must be smaller than the float one."""
ORIGINAL = "the original ONNX file"
QDQ_OPSET = 13
"""First opset with one scale per channel (ONNX operator changelog, DequantizeLinear-13)."""


@dataclass(frozen=True)
class _Written:
    """A finished graph with the outputs it has to reproduce."""

    model: ModelProto
    precision: Precision
    reference: Mapping[str, Array]
    reference_name: str
    samples: Samples
    float_reference: Mapping[str, Array] | None = None
    notes: tuple[str, ...] = ()


class OnnxCompiler:
    """Writes .onnx files."""

    runtime = "onnxruntime"

    def refuse(self, traits: Traits, target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None."""
        if target.file_format != "onnx":
            return f"this compiler writes onnx files, target {target.name} takes {target.file_format}"
        if traits.precision not in target.precisions:
            return f"target {target.name} takes {', '.join(target.precisions)}, this candidate is {traits.precision}"
        if traits.precision == "int8" and target.opset < QDQ_OPSET:
            return f"int8 with one scale per channel needs opset {QDQ_OPSET}, target {target.name} has {target.opset}"
        return None

    def compile(self, candidate: Candidate, context: CompileContext) -> CompiledFile:
        """Return the file with parity against the network (torch) or against the person's own graph (ONNX)."""
        reason = self.refuse(candidate.traits, context.target)
        if reason is not None:
            raise CandidateRefused(reason)
        context.progress(0.05, "writing the ONNX graph")
        if isinstance(candidate, TorchCandidate):
            written = _write_torch(candidate, context)
        else:
            written = _write_onnx(candidate, context)
        context.progress(0.6, "comparing the artifact with the candidate")
        compiled = _finish(written, context)
        return replace(compiled, notes=_merged(compiled.notes, candidate))

    def open(self, payload: bytes, *, threads: int) -> OnnxSession:
        """Return the file, loaded under onnxruntime on this host."""
        return OnnxSession(payload, threads=threads)


def _write_torch(candidate: TorchCandidate, context: CompileContext) -> _Written:
    refuse_non_finite(candidate.model)
    spec = candidate.structure.input
    model = export_module(candidate.model, input_name=spec.name, shape=spec.shape, opset=context.target.opset)
    optimize_graph(model, ir_version=context.target.ir_version)
    session = OnnxSession(_serialize(model), threads=context.threads)
    samples = parity_samples(context.data, session.inputs, context.seed)
    outputs = run_module(candidate.model, samples.inputs[spec.name])
    name = "torch" if candidate.traits.precision == "fp32" else "torch with simulated quantization"
    return _Written(model, candidate.traits.precision, {session.outputs[0].name: outputs}, name, samples)


@dataclass(frozen=True)
class _Reference:
    """The original graph's outputs on the samples, and what was noted so far."""

    samples: Samples
    outputs: Mapping[str, Array]
    notes: tuple[str, ...]


def _write_onnx(candidate: OnnxCandidate, context: CompileContext) -> _Written:
    source = copy_model(candidate.model)
    refuse_unsupported(source)
    original = OnnxSession(source.SerializeToString(), threads=context.threads)
    samples = parity_samples(context.data, original.inputs, context.seed)
    known = _Reference(samples, original.run(samples.inputs), ())
    name_batch(source)
    optimize_graph(source, ir_version=context.target.ir_version)
    if opset_of(source) > context.target.opset:
        converted = _fit_opset(source, context.target.opset, known, context.threads)
        known = replace(known, notes=("opset_kept" if converted is None else "opset_converted",))
        source = source if converted is None else converted
    if candidate.plan is not None:
        return _quantize(source, candidate.plan, context, original.inputs, known)
    source.ir_version = ir_version_for(opset_of(source), context.target.ir_version)
    return _Written(source, candidate.traits.precision, known.outputs, ORIGINAL, samples, notes=known.notes)


def _fit_opset(source: ModelProto, opset: int, known: _Reference, threads: int) -> ModelProto | None:
    """Return the graph in this opset if a conversion was seen to compute the same on the samples, else None."""
    for converted in opset_candidates(source, opset):
        try:
            found = OnnxSession(converted.SerializeToString(), threads=threads).run(known.samples.inputs)
            check_parity(
                known.outputs,
                found,
                tolerance=FP32_TOLERANCE,
                reference_name=ORIGINAL,
                samples=known.samples.source,
            )
        except (CandidateRefused, ParityFailed):
            continue  # this way of converting is not safe; the caller keeps or refuses the model
        return converted
    return None


def _quantize(
    model: ModelProto,
    plan_document: Mapping[str, Any],
    context: CompileContext,
    specs: tuple[TensorSpec, ...],
    known: _Reference,
) -> _Written:
    plan = onnx_calibration.read_plan(plan_document)
    if opset_of(model) < QDQ_OPSET:
        upgraded = _fit_opset(model, QDQ_OPSET, known, context.threads)
        if upgraded is None:
            raise CandidateRefused(
                f"the model has opset {opset_of(model)}, int8 needs {QDQ_OPSET} and the converter cannot raise it: export the "
                f"model again with opset {QDQ_OPSET}",
                code="opset_too_old",
            )
        model = upgraded
    data = context.data if plan.calibration.source == "train" else None
    calibration = calibration_samples(data, specs, n_samples=plan.calibration.n_samples, seed=plan.calibration.seed)
    context.progress(0.2, f"calibrating on {len(calibration)} samples")
    quantized = onnx_calibration.quantize_graph(
        model, plan, calibration, fixed_batch=_fixed_batch(specs), work_dir=context.work_dir
    )
    simulated = OnnxSession(quantized.SerializeToString(), threads=context.threads, optimize=False)
    reference = simulated.run(known.samples.inputs)
    optimize_graph(quantized, ir_version=context.target.ir_version)
    notes = (*known.notes, "calibration_random") if calibration.source == "random" else known.notes
    return _Written(
        quantized, "int8", reference, "the quantized graph in float arithmetic", known.samples, known.outputs, notes
    )


def _fixed_batch(specs: tuple[TensorSpec, ...]) -> int | None:
    sizes = [spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], int)]
    return min(sizes) if sizes else None


def _finish(written: _Written, context: CompileContext) -> CompiledFile:
    onnx.checker.check_model(written.model, full_check=True)
    payload = _serialize(written.model)
    session = OnnxSession(payload, threads=context.threads)
    outputs = session.run(written.samples.inputs)
    parity, parity_notes = _compare(written, outputs, payload, context)
    opset, ir_version = opset_of(written.model), int(written.model.ir_version)
    min_version = min_onnxruntime_version(opset, ir_version)
    return CompiledFile(
        payload=payload,
        precision=written.precision,
        opset=opset,
        ir_version=ir_version,
        min_runtime_version=min_version,
        inputs=session.inputs,
        outputs=session.outputs,
        parity=parity,
        tool_versions=_tool_versions(),
        float_snr_db=_float_snr_db(written.float_reference, outputs),
        operators=count_operators(written.model),
        notes=(
            *written.notes,
            *parity_notes,
            *_version_notes(min_version, context),
            *_size_notes(written, len(payload)),
        ),
        golden=make_golden(
            written.samples.inputs,
            written.reference if written.float_reference is None else written.float_reference,
            outputs,
            written.samples.source,
        ),
    )


def _compare(
    written: _Written, outputs: Mapping[str, Array], payload: bytes, context: CompileContext
) -> tuple[ParityReport, tuple[str, ...]]:
    """Return the comparison, or raise ParityFailed.

    Where the host's integer kernels saturate, a correct int8 file may differ here and nowhere else; it is then compared
    once more in float arithmetic and noted as ``host_kernels_saturate``.
    """
    try:
        return _parity(written, outputs), ()
    except ParityFailed:
        if written.precision == "fp32" or not _host_saturates():
            raise
    plain = OnnxSession(payload, threads=context.threads, optimize=False).run(written.samples.inputs)
    return _parity(written, plain), ("host_kernels_saturate",)


def _parity(written: _Written, outputs: Mapping[str, Array]) -> ParityReport:
    return check_parity(
        written.reference,
        outputs,
        tolerance=FP32_TOLERANCE if written.precision == "fp32" else INT8_TOLERANCE,
        reference_name=written.reference_name,
        samples=written.samples.source,
    )


def _host_saturates() -> bool:
    path = Path("/proc/cpuinfo")
    return saturates_products(path.read_text() if path.exists() else "", platform.machine())


def _float_snr_db(reference: Mapping[str, Array] | None, outputs: Mapping[str, Array]) -> float | None:
    """Return the worst output's SNR against the float model in dB; None for files that were not quantized here."""
    if reference is None:
        return None
    wanted = {name: value.astype(np.float64) for name, value in reference.items()}
    figures = [snr_db(value, outputs[name].astype(np.float64) - value) for name, value in wanted.items()]
    return min((figure for figure in figures if figure is not None), default=None)


def _version_notes(min_version: str | None, context: CompileContext) -> tuple[str, ...]:
    if min_version is None:
        return ("runtime_version_unknown",)
    newer = parse_version(min_version) > parse_version(context.target.min_version)
    return ("needs_newer_runtime",) if newer else ()


def _size_notes(written: _Written, size_bytes: int) -> tuple[str, ...]:
    """Return ``int8_not_smaller`` for an int8 file that is not smaller than its weights would be as float32."""
    weights = [tensor for tensor in written.model.graph.initializer if len(tensor.dims) >= 2]
    n_weights = sum(int(numpy_helper.to_array(tensor).size) for tensor in weights)
    is_useless = written.precision == "int8" and n_weights >= MANY_WEIGHTS and size_bytes >= 4 * n_weights
    return ("int8_not_smaller",) if is_useless else ()


def _serialize(model: ModelProto) -> bytes:
    payload: bytes = model.SerializeToString(deterministic=True)
    return payload


def _merged(notes: tuple[str, ...], candidate: Candidate) -> tuple[str, ...]:
    """Return the notes with those of the passes that made the candidate, each once."""
    earlier = tuple(note for record in candidate.history for note in record.notes)
    return tuple(dict.fromkeys((*earlier, *notes)))


def _tool_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
