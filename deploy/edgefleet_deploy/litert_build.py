"""From a torch candidate to a checked .tflite file. Imported by the compile step's child only: it loads the converter."""

import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from torch import nn

from edgefleet_compression.candidate import TorchCandidate, float_network
from edgefleet_compression.precision import Precision
from edgefleet_compression.quantization.graph import fold_batchnorm
from edgefleet_compression.structure import InputSpec
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.golden import make_golden
from edgefleet_deploy.litert_export import convert_module, has_token_ids, is_image
from edgefleet_deploy.litert_flatbuffer import read_model, write_lean
from edgefleet_deploy.litert_network import Range, observe_points, round_weights
from edgefleet_deploy.litert_operators import count_fused_activations, count_operators, list_operators
from edgefleet_deploy.litert_quantization import adopt_points, observe_tensors, quantize_file
from edgefleet_deploy.litert_session import LitertSession
from edgefleet_deploy.litert_versions import min_runtime_version
from edgefleet_deploy.manifest import GraphSummary, ParityTolerance, TensorSpec
from edgefleet_deploy.onnx_export import OUTPUT_NAME, refuse_non_finite, run_module
from edgefleet_deploy.onnx_graph import Array
from edgefleet_deploy.parity import DYNAMIC_TOLERANCE, FP32_TOLERANCE, INT8_TOLERANCE, check_parity, snr_db
from edgefleet_deploy.samples import Samples, calibration_samples, parity_samples

RANGE_SAMPLES = 64
"""Samples that tell the file's tensors apart by their ranges; no scale is made of them where the candidate has its own."""

LOW_SNR_DB = 20.0
"""An output further than this from the float network's is noted: the difference is 10 % of the signal."""

_WEIGHT_BITS: Mapping[Precision, int] = {"int8-dynamic": 8, "int8-weights": 8, "int4-weights": 4}
_TOLERANCES: Mapping[Precision, ParityTolerance] = {
    "fp32": FP32_TOLERANCE,
    "int8": INT8_TOLERANCE,
    "int8-dynamic": DYNAMIC_TOLERANCE,
    "int8-weights": INT8_TOLERANCE,
    "int4-weights": INT8_TOLERANCE,
}
_TOOLS = ("torch", "numpy", "litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert")


@dataclass(frozen=True)
class _Reference:
    """Outputs (n, ...) that the file has to reproduce, those of the float network, and the samples they belong to."""

    samples: Samples
    outputs: Array
    float_outputs: Array
    name: str


def build(candidate: TorchCandidate, context: CompileContext) -> CompiledFile:
    """Return the file of a candidate, or raise CandidateRefused or ParityFailed."""
    refuse_non_finite(candidate.model)
    _refuse_text_in_static_integers(candidate)
    spec, precision = candidate.structure.input, candidate.traits.precision
    network = float_network(candidate)
    context.progress(0.05, "converting the network")
    payload = convert_module(network, spec, context.work_dir)
    notes: tuple[str, ...] = ()
    if precision != "fp32":
        context.progress(0.4, f"writing {precision}")
        ranges, notes = _ranges(candidate, payload, context) if precision == "int8" else ({}, ())
        payload = quantize_file(payload, precision, ranges)
    payload = write_lean(read_model(payload), input_names=[spec.name], output_names=[OUTPUT_NAME])
    context.progress(0.6, "comparing the artifact with the candidate")
    return _finish(payload, candidate, network, context, notes)


def _refuse_text_in_static_integers(candidate: TorchCandidate) -> None:
    if candidate.traits.precision == "int8" and has_token_ids(candidate.structure.input):
        raise CandidateRefused(
            "a text network gains nothing from int8 with static ranges here: its embedding stays float, so that the file is "
            "more than twice that of int8-dynamic, and it is 15 dB further from the float network: take int8-dynamic, or "
            "int8-weights for tflite-runtime",
            code="int8_unsuitable",
        )


def _data_spec(spec: InputSpec) -> TensorSpec:
    return TensorSpec(name=spec.name, shape=("N", *spec.shape), dtype=spec.dtype)


def _in_file_layout(spec: InputSpec, values: Array) -> Array:
    """Return samples of the data set as the file takes them: channels last, token ids in 32 bits."""
    if is_image(spec):
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1))
    return values.astype(np.int32) if has_token_ids(spec) else values


def _ranges(
    candidate: TorchCandidate, payload: bytes, context: CompileContext
) -> tuple[dict[str, Range], tuple[str, ...]]:
    """Return tensor name -> range for the quantizer: the candidate's own wherever the tensor is one of its points."""
    spec = candidate.structure.input
    samples = calibration_samples(context.data, (_data_spec(spec),), n_samples=RANGE_SAMPLES, seed=context.seed)
    inputs = samples.inputs[spec.name]
    tensors = observe_tensors(payload, _in_file_layout(spec, inputs), threads=context.threads)
    ranges, n_unknown = adopt_points(tensors, observe_points(candidate.model, inputs))
    return ranges, ("ranges_recalibrated",) if n_unknown else ()


def _finish(
    payload: bytes, candidate: TorchCandidate, network: nn.Module, context: CompileContext, notes: tuple[str, ...]
) -> CompiledFile:
    precision, spec = candidate.traits.precision, candidate.structure.input
    reference = _reference(candidate, network, context)
    inputs = {spec.name: _in_file_layout(spec, reference.samples.inputs[spec.name])}
    session = LitertSession(payload, threads=context.threads)
    outputs = session.run(inputs)
    parity = check_parity(
        {OUTPUT_NAME: reference.outputs},
        outputs,
        tolerance=_TOLERANCES[precision],
        reference_name=reference.name,
        samples=reference.samples.source,
    )
    model = read_model(payload)
    float_snr_db = None if precision == "fp32" else _snr_db(reference.float_outputs, outputs[OUTPUT_NAME])
    min_version = min_runtime_version(model, context.target)
    return CompiledFile(
        payload=payload,
        precision=precision,
        opset=0,
        ir_version=0,
        min_runtime_version=min_version,
        inputs=session.inputs,
        outputs=session.outputs,
        parity=parity,
        tool_versions={"python": platform.python_version()} | {name: version(name) for name in _TOOLS},
        float_snr_db=float_snr_db,
        operators=count_operators(model),
        graph=_summary(network, model, spec),
        notes=(
            *notes,
            *(("runtime_version_unknown",) if min_version is None else ()),
            *(("float_snr_low",) if float_snr_db is not None and float_snr_db < LOW_SNR_DB else ()),
        ),
        golden=make_golden(inputs, {OUTPUT_NAME: reference.float_outputs}, outputs, reference.samples.source),
    )


def _reference(candidate: TorchCandidate, network: nn.Module, context: CompileContext) -> _Reference:
    spec, precision = candidate.structure.input, candidate.traits.precision
    samples = parity_samples(context.data, (_data_spec(spec),), context.seed)
    inputs = samples.inputs[spec.name]
    float_outputs = run_module(network, inputs)
    if precision == "int8":
        return _Reference(
            samples, run_module(candidate.model, inputs), float_outputs, "torch with simulated quantization"
        )
    if precision in _WEIGHT_BITS:
        rounded = run_module(round_weights(_folded(network), _WEIGHT_BITS[precision]), inputs)
        return _Reference(samples, rounded, float_outputs, "torch with rounded weights")
    return _Reference(samples, float_outputs, float_outputs, "torch")


def _folded(network: nn.Module) -> nn.Module:
    """Return the network with BatchNorm in its convolutions, as the converter leaves it, before weights are rounded."""
    has_norm = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    return fold_batchnorm(network) if has_norm else network


def _snr_db(wanted: Array, found: Array) -> float | None:
    reference = wanted.astype(np.float64)
    return snr_db(reference, found.astype(np.float64) - reference)


def _summary(network: nn.Module, model: Any, spec: InputSpec) -> GraphSummary:
    layers = Counter(
        type(module).__name__
        for module in network.modules()
        if not list(module.children()) and not isinstance(module, nn.Identity)
    )
    fused = {
        "conv_batch_norm": sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()),
        "activation": count_fused_activations(model),
    }
    return GraphSummary(
        operators_before=dict(sorted(layers.items())),
        operators_after=list_operators(model),
        fused={name: count for name, count in fused.items() if count},
        layout="NHWC" if is_image(spec) else "none",
    )
