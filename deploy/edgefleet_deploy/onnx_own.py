"""From a person's own ONNX graph to a finished one of a target."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from edgefleet_compression.candidate import OnnxCandidate
from edgefleet_compression.precision import Precision
from edgefleet_deploy.compiler import CompileContext
from edgefleet_deploy.errors import CandidateRefused, ParityFailed
from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_calibration import quantize_graph, static_plan
from edgefleet_deploy.onnx_files import copy_model, name_batch, opset_candidates, refuse_unsupported
from edgefleet_deploy.onnx_formats import OLDEST_OPSET, convert_format
from edgefleet_deploy.onnx_optimization import optimize_graph
from edgefleet_deploy.onnx_session import OnnxSession
from edgefleet_deploy.onnx_summary import count_by_type, summarize
from edgefleet_deploy.onnx_versions import ir_version_for, opset_of
from edgefleet_deploy.onnx_written import CONVERTED_GRAPH, Written, serialize
from edgefleet_deploy.parity import FP32_TOLERANCE, check_parity
from edgefleet_deploy.samples import Samples, calibration_samples, parity_samples

Array = NDArray[Any]

ORIGINAL = "the original ONNX file"
QUANTIZED = "the quantized graph in float arithmetic"


@dataclass(frozen=True)
class Known:
    """The original graph's inputs and its outputs on the samples, and what was noted so far."""

    samples: Samples
    outputs: Mapping[str, Array]
    inputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]


def write_own(candidate: OnnxCandidate, context: CompileContext) -> Written:
    """Return the optimized graph in the candidate's format, with the original graph's outputs to compare with."""
    return write_own_as(candidate, candidate.traits.precision, context)


def write_own_as(candidate: OnnxCandidate, precision: Precision, context: CompileContext) -> Written:
    """Return the graph stored in this format, whatever the candidate's plan asks for."""
    source, known = prepared(candidate, context)
    before = count_by_type(candidate.model)
    if candidate.plan is None or precision == "fp32":
        source.ir_version = ir_version_for(opset_of(source), context.target.ir_version)
        written = Written(source, precision, known.outputs, ORIGINAL, known.samples, notes=known.notes)
    elif precision == "int8":
        written = _quantize(raise_opset(source, precision, known, context), candidate.plan, context, known)
    else:
        written = _convert(raise_opset(source, precision, known, context), precision, context, known)
    return replace(written, graph=summarize(before, written.model))


def prepared(candidate: OnnxCandidate, context: CompileContext) -> tuple[ModelProto, Known]:
    """Return the float graph, optimized and in the target's opset where it can be, and what the original computes."""
    source = copy_model(candidate.model)
    refuse_unsupported(source)
    original = OnnxSession(source.SerializeToString(), threads=context.threads)
    samples = parity_samples(context.data, original.inputs, context.seed)
    known = Known(samples, original.run(samples.inputs), original.inputs, ())
    name_batch(source)
    optimize_graph(source, ir_version=context.target.ir_version)
    return lower_opset(source, known, context)


def lower_opset(source: ModelProto, known: Known, context: CompileContext) -> tuple[ModelProto, Known]:
    """Return the graph in the target's opset where it had a newer one and can be converted, with what was noted."""
    if opset_of(source) <= context.target.opset:
        return source, known
    converted = _fit_opset(source, context.target.opset, known, context.threads)
    if converted is None:
        return source, replace(known, notes=(*known.notes, "opset_kept"))
    return converted, replace(known, notes=(*known.notes, "opset_converted"))


def raise_opset(model: ModelProto, precision: Precision, known: Known, context: CompileContext) -> ModelProto:
    """Return the graph in an opset that has the format's operators; CandidateRefused ``opset_too_old`` otherwise."""
    needed = OLDEST_OPSET[precision]
    if opset_of(model) >= needed:
        return model
    upgraded = _fit_opset(model, needed, known, context.threads)
    if upgraded is None:
        raise CandidateRefused(
            f"the model has opset {opset_of(model)}, {precision} needs {needed} and the converter cannot raise it: export "
            f"the model again with opset {needed}",
            code="opset_too_old",
        )
    return upgraded


def _convert(model: ModelProto, precision: Precision, context: CompileContext, known: Known) -> Written:
    model.ir_version = ir_version_for(opset_of(model), context.target.ir_version)
    converted = convert_format(model, precision, context.work_dir)
    if precision == "fp16":
        return Written(converted, precision, known.outputs, ORIGINAL, known.samples, known.outputs, notes=known.notes)
    plain = OnnxSession(serialize(converted), threads=context.threads, optimize=False).run(known.samples.inputs)
    return Written(converted, precision, plain, CONVERTED_GRAPH, known.samples, known.outputs, notes=known.notes)


def _fit_opset(source: ModelProto, opset: int, known: Known, threads: int) -> ModelProto | None:
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


def _quantize(model: ModelProto, document: Mapping[str, Any], context: CompileContext, known: Known) -> Written:
    calibration = calibration_of(document, context, known)
    context.progress(0.2, f"calibrating on {len(calibration)} samples")
    quantized = quantize_graph(
        model,
        calibration,
        signed=static_plan(document).signed,
        fixed_batch=fixed_batch(known.inputs),
        work_dir=context.work_dir,
    )
    simulated = OnnxSession(quantized.SerializeToString(), threads=context.threads, optimize=False)
    reference = simulated.run(known.samples.inputs)
    optimize_graph(quantized, ir_version=context.target.ir_version)
    notes = (*known.notes, "calibration_random") if calibration.source == "random" else known.notes
    return Written(quantized, "int8", reference, QUANTIZED, known.samples, known.outputs, notes=notes)


def calibration_of(document: Mapping[str, Any], context: CompileContext, known: Known) -> Samples:
    """Return the samples that the plan asks for; random ones where the plan was made without data."""
    wanted = static_plan(document).calibration
    data = context.data if wanted.source == "train" else None
    return calibration_samples(data, known.inputs, n_samples=wanted.n_samples, seed=wanted.seed)


def fixed_batch(specs: tuple[TensorSpec, ...]) -> int | None:
    """Return the batch the inputs insist on; None where it is free."""
    sizes = [spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], int)]
    return min(sizes) if sizes else None
