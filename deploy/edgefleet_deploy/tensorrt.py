"""The TensorRT compiler: an ONNX file and the plan by which the device builds its own engine from it.

Engines fit one GPU and one TensorRT version only, so none is built here. What the file computes is checked under
onnxruntime on this host; what an engine of it weighs is known on the device alone.
"""

from dataclasses import replace
from typing import Final

from onnx import ModelProto

from edgefleet_compression.candidate import Candidate, OnnxCandidate, TorchCandidate, Traits
from edgefleet_compression.precision import Precision
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.manifest import BuildPlan, ParityTolerance, ShapeRange, TensorSpec
from edgefleet_deploy.onnx import merged_notes
from edgefleet_deploy.onnx_calibration import quantize_graph_symmetric
from edgefleet_deploy.onnx_optimization import optimize_explicit_graph
from edgefleet_deploy.onnx_own import (
    QUANTIZED,
    calibration_of,
    fixed_batch,
    prepared,
    raise_opset,
    write_own_as,
)
from edgefleet_deploy.onnx_session import OnnxSession
from edgefleet_deploy.onnx_summary import count_by_type, summarize
from edgefleet_deploy.onnx_torch import export_network, float_outputs, write_torch_as
from edgefleet_deploy.onnx_versions import opset_of
from edgefleet_deploy.onnx_written import Written, finish, serialize
from edgefleet_deploy.samples import parity_samples
from edgefleet_deploy.targets import Target
from edgefleet_deploy.tensorrt_operators import NEWEST_OPSET_BEFORE_10, unsupported_operators
from edgefleet_deploy.tensorrt_plans import PLANS, TargetPlan
from edgefleet_deploy.tensorrt_quantization import make_symmetric, refuse_asymmetric

ENGINE_SIZE_UNKNOWN: Final = "engine_size_unknown"
"""Note: size_bytes is the ONNX file's; weights are float in it, the engine that the device builds is another size."""

SYMMETRIC_TOLERANCE: Final = ParityTolerance(
    max_diff_ratio=None, max_diff_steps=None, min_snr_db=15.0, min_top1_agreement_clear=None
)
"""Coarser than other int8: onnxruntime's integer kernels round the biases that stay float here, and a layer without
negative activations has 7 bits. An untrained MobileNetV2 was seen at 21 dB; a wrong scale or axis gives less than 0."""


class TensorRtCompiler:
    """Writes .onnx files with build plans."""

    runtime = "tensorrt"

    def refuse(self, traits: Traits, target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None."""
        if target.file_format != "onnx" or target.name not in PLANS:
            return f"this compiler writes onnx files for {', '.join(sorted(PLANS))}, not for target {target.name}"
        if traits.precision not in target.precisions:
            return f"target {target.name} takes {', '.join(target.precisions)}, this candidate is {traits.precision}"
        return None

    def compile(self, candidate: Candidate, context: CompileContext) -> CompiledFile:
        """Return the ONNX file with its build plan, compared under onnxruntime on this host."""
        reason = self.refuse(candidate.traits, context.target)
        if reason is not None:
            raise CandidateRefused(reason)
        context.progress(0.05, "writing the ONNX graph")
        plan = PLANS[context.target.name]
        written = _write(candidate, plan, context)
        _refuse_operators(written.model, plan)
        _refuse_opset(written.model, plan)
        refuse_asymmetric(written.model)
        context.progress(0.6, "comparing the artifact with the candidate")
        compiled = finish(written, context)
        return replace(
            compiled,
            min_runtime_version=plan.min_version,
            build_plan=build_plan(plan, written.precision, compiled.inputs),
            notes=merged_notes((*compiled.notes, ENGINE_SIZE_UNKNOWN), candidate),
        )

    def open(self, payload: bytes, *, threads: int) -> OnnxSession:
        """Return the file, loaded under onnxruntime on this host."""
        return OnnxSession(payload, threads=threads)


def build_plan(plan: TargetPlan, precision: Precision, inputs: tuple[TensorSpec, ...]) -> BuildPlan:
    """Return the plan of a file: shapes with the batch from 1 to the target's largest, flags where types are no law."""
    return BuildPlan(
        runtime="tensorrt",
        flags=() if plan.strongly_typed else plan.flags[precision],
        workspace_bytes=plan.workspace_bytes,
        shapes={spec.name: _shape_range(spec, plan.max_batch) for spec in inputs},
        strongly_typed=plan.strongly_typed,
        min_version=plan.min_version,
        max_version=plan.max_version,
    )


def _shape_range(spec: TensorSpec, max_batch: int) -> ShapeRange:
    def at(batch: int) -> tuple[int, ...]:
        return tuple(dim if isinstance(dim, int) else batch for dim in spec.shape)

    return ShapeRange(min=at(1), opt=at(1), max=at(max_batch))


def _write(candidate: Candidate, plan: TargetPlan, context: CompileContext) -> Written:
    precision = candidate.traits.precision
    # where a builder flag asks for halves, the file stays float32; a strongly typed network takes the file's own types
    stored: Precision = "fp32" if precision == "fp16" and not plan.strongly_typed else precision
    if isinstance(candidate, TorchCandidate):
        written = (
            _quantize_torch(candidate, context) if precision == "int8" else write_torch_as(candidate, stored, context)
        )
    elif precision == "int8" and candidate.plan is not None:
        written = _quantize_own(candidate, context)
    else:
        written = write_own_as(candidate, stored, context)
    return replace(written, precision=precision)


def _quantize_torch(candidate: TorchCandidate, context: CompileContext) -> Written:
    model = export_network(candidate, context.target.opset)
    before = count_by_type(model)
    optimize_explicit_graph(model, ir_version=context.target.ir_version)
    make_symmetric(model)
    optimize_explicit_graph(model, ir_version=context.target.ir_version)
    simulated = OnnxSession(serialize(model), threads=context.threads, optimize=False)
    n_values = candidate.structure.input.n_values or 2
    samples = parity_samples(context.data, simulated.inputs, context.seed, n_values=n_values)
    reference, float_reference = simulated.run(samples.inputs), float_outputs(candidate, samples)
    graph = summarize(before, model, candidate.model)
    return Written(model, "int8", reference, QUANTIZED, samples, float_reference, graph, tolerance=SYMMETRIC_TOLERANCE)


def _quantize_own(candidate: OnnxCandidate, context: CompileContext) -> Written:
    source, known = prepared(candidate, context)
    before = count_by_type(candidate.model)
    source = raise_opset(source, "int8", known, context)
    calibration = calibration_of(candidate.plan or {}, context, known)
    quantized = quantize_graph_symmetric(
        source, calibration, fixed_batch=fixed_batch(known.inputs), work_dir=context.work_dir
    )
    optimize_explicit_graph(quantized, ir_version=context.target.ir_version)
    simulated = OnnxSession(serialize(quantized), threads=context.threads, optimize=False)
    reference = simulated.run(known.samples.inputs)
    notes = (*known.notes, "calibration_random") if calibration.source == "random" else known.notes
    graph = summarize(before, quantized)
    return Written(
        quantized,
        "int8",
        reference,
        QUANTIZED,
        known.samples,
        known.outputs,
        graph,
        notes,
        SYMMETRIC_TOLERANCE,
    )


def _refuse_operators(model: ModelProto, plan: TargetPlan) -> None:
    lacking = unsupported_operators(frozenset(node.op_type for node in model.graph.node), before_10=plan.before_10)
    if lacking:
        raise CandidateRefused(
            f"TensorRT {plan.min_version} has no {', '.join(sorted(lacking))}: choose the target onnxruntime, or another "
            "network",
            code="operator_unsupported",
            detail={"operators": sorted(lacking)},
        )


def _refuse_opset(model: ModelProto, plan: TargetPlan) -> None:
    opset = opset_of(model)
    if plan.before_10 and opset > NEWEST_OPSET_BEFORE_10:
        raise CandidateRefused(
            f"TensorRT {plan.min_version} reads opsets up to {NEWEST_OPSET_BEFORE_10}, and this graph of opset {opset} could "
            f"not be converted: export the model with opset {NEWEST_OPSET_BEFORE_10}",
            code="opset_too_new",
            detail={"opset": opset},
        )
