"""From a finished graph to a compiled file: checked, run under onnxruntime on this host, compared, described."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edgefleet_compression.precision import Precision
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import ParityFailed
from edgefleet_deploy.golden import GoldenPair, make_golden
from edgefleet_deploy.manifest import GraphSummary, ParityReport, ParityTolerance
from edgefleet_deploy.onnx_operators import count_operators
from edgefleet_deploy.onnx_session import OnnxSession, saturates_products
from edgefleet_deploy.onnx_versions import min_version_of, opset_of
from edgefleet_deploy.parity import FP16_TOLERANCE, FP32_TOLERANCE, INT4_TOLERANCE, INT8_TOLERANCE, check_parity, snr_db
from edgefleet_deploy.samples import Samples
from edgefleet_deploy.targets import parse_version

Array = NDArray[Any]

MANY_WEIGHTS = 10_000
"""From here on weights outweigh the graph's own bytes, and an integer file must be smaller than the float one."""

CONVERTED_GRAPH = "the converted graph in float arithmetic"
"""What a file is compared with whose format changes the numbers: its own graph, node by node. The distance to the float
network is stated beside it (float_snr_db)."""

LOW_SNR_DB = 15.0
"""Below this the rounding is 18 % of the signal: worth a note, for a person to look at the accuracy."""


@dataclass(frozen=True)
class Written:
    """A finished graph with the outputs it has to reproduce.

    reference: what the file must compute, name -> (n, ...). float_reference: the float network's outputs on the same
    samples, where the format changes the numbers. tolerance: None means that of the precision.
    """

    model: ModelProto
    precision: Precision
    reference: Mapping[str, Array]
    reference_name: str
    samples: Samples
    float_reference: Mapping[str, Array] | None = None
    graph: GraphSummary | None = None
    notes: tuple[str, ...] = ()
    tolerance: ParityTolerance | None = None


def finish(written: Written, context: CompileContext) -> CompiledFile:
    """Return the file of a graph, or raise ParityFailed with the figures."""
    onnx.checker.check_model(written.model, full_check=True)
    payload = serialize(written.model)
    session = OnnxSession(payload, threads=context.threads)
    outputs = session.run(written.samples.inputs)
    parity, parity_notes = _compare(written, outputs, payload, context)
    float_snr = _float_snr_db(written.float_reference, outputs)
    min_version = min_version_of(written.model)
    return CompiledFile(
        payload=payload,
        precision=written.precision,
        opset=opset_of(written.model),
        ir_version=int(written.model.ir_version),
        min_runtime_version=min_version,
        inputs=session.inputs,
        outputs=session.outputs,
        parity=parity,
        tool_versions=_tool_versions(),
        float_snr_db=float_snr,
        operators=count_operators(written.model),
        graph=written.graph,
        notes=(
            *written.notes,
            *parity_notes,
            *_version_notes(min_version, context),
            *(_size_notes(written, len(payload)) if context.target.runtime == "onnxruntime" else ()),
            *(("float_snr_low",) if float_snr is not None and float_snr < LOW_SNR_DB else ()),
        ),
        golden=_golden(written, outputs, session),
    )


def _golden(written: Written, outputs: Mapping[str, Array], session: OnnxSession) -> GoldenPair | None:
    """Return the golden pair; its SNR is of the golden samples run by themselves.

    Dynamic int8 takes the range of an activation over the whole batch, so that a sample's outputs depend on its company.
    """
    reference = written.reference if written.float_reference is None else written.float_reference
    pair = make_golden(written.samples.inputs, reference, outputs, written.samples.source)
    if pair is None or written.precision != "int8-dynamic":
        return pair
    return make_golden(pair.inputs, pair.reference, session.run(pair.inputs), pair.source)


def serialize(model: ModelProto) -> bytes:
    """Return the file's bytes; equal graphs give equal bytes."""
    payload: bytes = model.SerializeToString(deterministic=True)
    return payload


def _compare(
    written: Written, outputs: Mapping[str, Array], payload: bytes, context: CompileContext
) -> tuple[ParityReport, tuple[str, ...]]:
    """Return the comparison, or raise ParityFailed.

    Where the host's integer kernels saturate, a correct int8 file may differ here and nowhere else; it is then compared
    once more in float arithmetic and noted as ``host_kernels_saturate``.
    """
    try:
        return _parity(written, outputs), ()
    except ParityFailed:
        if written.precision not in ("int8", "int8-dynamic") or not _host_saturates():
            raise
    plain = OnnxSession(payload, threads=context.threads, optimize=False).run(written.samples.inputs)
    return _parity(written, plain), ("host_kernels_saturate",)


def _parity(written: Written, outputs: Mapping[str, Array]) -> ParityReport:
    return check_parity(
        written.reference,
        outputs,
        tolerance=written.tolerance or tolerance_of(written.precision),
        reference_name=written.reference_name,
        samples=written.samples.source,
    )


def tolerance_of(precision: Precision) -> ParityTolerance:
    """Return how far a file of this format may be from what it is compared with."""
    own = {"fp32": FP32_TOLERANCE, "fp16": FP16_TOLERANCE, "int4": INT4_TOLERANCE}
    return own.get(precision, INT8_TOLERANCE)


def _host_saturates() -> bool:
    path = Path("/proc/cpuinfo")
    return saturates_products(path.read_text() if path.exists() else "", platform.machine())


def _float_snr_db(reference: Mapping[str, Array] | None, outputs: Mapping[str, Array]) -> float | None:
    """Return the worst output's SNR against the float model in dB; None for files that compute the same numbers."""
    if reference is None:
        return None
    wanted = {name: value.astype(np.float64) for name, value in reference.items()}
    figures = [snr_db(value, outputs[name].astype(np.float64) - value) for name, value in wanted.items()]
    return min((figure for figure in figures if figure is not None), default=None)


def _version_notes(min_version: str | None, context: CompileContext) -> tuple[str, ...]:
    if min_version is None:
        return ("runtime_version_unknown",)
    newer = parse_version(min_version) > parse_version(context.target.min_version)
    return ("needs_newer_runtime",) if newer and context.target.runtime == "onnxruntime" else ()


def _size_notes(written: Written, size_bytes: int) -> tuple[str, ...]:
    """Return ``int8_not_smaller`` for an integer file that is not smaller than its weights would be as float32."""
    weights = [tensor for tensor in written.model.graph.initializer if len(tensor.dims) >= 2]
    n_weights = sum(int(numpy_helper.to_array(tensor).size) for tensor in weights)
    is_integer = written.precision.startswith("int")
    is_useless = is_integer and n_weights >= MANY_WEIGHTS and size_bytes >= 4 * n_weights
    return ("int8_not_smaller",) if is_useless else ()


def _tool_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
