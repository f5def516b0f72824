"""From a float graph to one of another number format, each carried out in a way every onnxruntime of the target runs."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgefleet_compression.precision import Precision
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_graph import GraphView
from edgefleet_deploy.onnx_lean import make_lean
from edgefleet_deploy.onnx_narrow_activations import keep_wide_weights_float, narrow_activations
from edgefleet_deploy.onnx_weights import Grid, store_weights_as_integers

OLDEST_OPSET: Mapping[Precision, int] = MappingProxyType(
    {"fp32": 1, "fp16": 7, "int8": 13, "int8-dynamic": 11, "int8-weights": 13, "int4-weights": 21, "int4": 21}
)
"""First opset that has what a format needs (ONNX operator changelog): DequantizeLinear with one scale per channel 13, with
4-bit integers and blocks 21, DynamicQuantizeLinear and MatMulInteger 11 (with their types complete)."""

LEAST_DYNAMIC_SHARE = 0.5
"""int8-dynamic reaches matrix products and look-ups only. Where they hold less than this share of the weights, the file
stays about as large and as slow as the float one."""

_DYNAMIC_OPERATORS = ("MatMul", "Gemm", "Gather")


def convert_format(model: ModelProto, precision: Precision, work_dir: Path, grids: Sequence[Grid] = ()) -> ModelProto:
    """Return the optimized float32 graph in another format; fp32 and int8 (quantized elsewhere) come back as they are.

    grids: weights that are integers times a scale already, for the weight-only formats. Raises CandidateRefused: ``dynamic_does_not_help``, ``fp16_overflow``, ``not_quantizable``.
    """
    carry_out = _CONVERSIONS.get(precision)
    if carry_out is None:
        return model
    opset = {entry.domain: entry.version for entry in model.opset_import}
    converted = carry_out(model, work_dir, grids)
    for domain, version in opset.items():
        if domain not in {entry.domain for entry in converted.opset_import}:
            converted.opset_import.add(domain=domain, version=version)
    make_lean(converted)
    converted.ir_version = model.ir_version
    return converted


def to_half(model: ModelProto, work_dir: Path, grids: Sequence[Grid] = ()) -> ModelProto:
    """Return the graph with float16 weights and arithmetic; inputs and outputs stay float32 between two casts."""
    del work_dir, grids
    _refuse_large(model)
    copied = ModelProto()
    copied.CopyFrom(model)
    converted: ModelProto = convert_float_to_float16(copied, keep_io_types=True, disable_shape_infer=False)
    sort_nodes(converted.graph)
    return converted


def _refuse_large(model: ModelProto) -> None:
    largest = float(np.finfo(np.float16).max)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            peak = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0.0))
            if peak > largest:
                raise CandidateRefused(
                    f"a weight of {peak:.3g} is beyond float16 ({largest:g}): train with weight decay, or take another format",
                    code="fp16_overflow",
                    detail={"largest_weight": peak},
                )


def sort_nodes(graph: GraphProto) -> None:
    """Put every node behind those it reads from; the float16 converter appends its casts at the end."""
    known = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input} | {""}
    waiting = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    done: list[NodeProto] = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise CandidateRefused("the converted graph has a circle or a missing input", code="not_quantizable")
        for node in ready:
            known.update(node.output)
        chosen = {id(node) for node in ready}
        waiting = [node for node in waiting if id(node) not in chosen]
        done.extend(ready)
    del graph.node[:]
    graph.node.extend(done)


def to_dynamic_int8(model: ModelProto, work_dir: Path, grids: Sequence[Grid] = ()) -> ModelProto:
    """Return the graph with int8 weights per output channel in matrix products and look-ups, activations quantized by
    DynamicQuantizeLinear while running.
    """
    del grids
    share = dynamic_share(model)
    if share < LEAST_DYNAMIC_SHARE:
        raise CandidateRefused(
            f"int8-dynamic quantizes matrix products, which hold {share:.0%} of this network's weights; convolutions stay "
            f"float32 and the file stays large: use the int8 recipe",
            code="dynamic_does_not_help",
            detail={"share": share},
        )
    path = work_dir / "dynamic.onnx"
    try:
        with _quiet_root_logger():
            quantize_dynamic(
                model,
                path,
                op_types_to_quantize=list(_DYNAMIC_OPERATORS),
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
        return onnx.load(path)
    except (ValueError, KeyError, RuntimeError, AssertionError) as err:
        raise CandidateRefused(
            f"onnxruntime's quantizer cannot quantize this graph ({type(err).__name__}: {err}): use the baseline recipe",
            code="not_quantizable",
        ) from err


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Hold back the advice to run a pre-processing whose work optimize_graph has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def dynamic_share(model: ModelProto) -> float:
    """Return the share of the weights (constants of two or more dimensions) that int8-dynamic would store as integers."""
    view = GraphView(model.graph)
    counted = {name: _n_elements(tensor) for name, tensor in view.initializers.items() if len(tensor.dims) > 1}
    reached = {name for name in counted if any(node.op_type in _DYNAMIC_OPERATORS for node in view.consumers[name])}
    total = sum(counted.values())
    return sum(counted[name] for name in reached) / total if total else 0.0


def _n_elements(tensor: TensorProto) -> int:
    return int(np.prod(list(tensor.dims)))


def _to_int8_weights(model: ModelProto, work_dir: Path, grids: Sequence[Grid]) -> ModelProto:
    del work_dir
    store_weights_as_integers(model, bits=8, grids=grids)
    return model


def _to_int4_weights(model: ModelProto, work_dir: Path, grids: Sequence[Grid]) -> ModelProto:
    del work_dir
    store_weights_as_integers(model, bits=4, grids=grids)
    return model


def _to_int4(model: ModelProto, work_dir: Path, grids: Sequence[Grid]) -> ModelProto:
    del work_dir
    narrow_activations(model)
    store_weights_as_integers(model, bits=4, grids=grids)
    keep_wide_weights_float(model.graph)
    return model


_CONVERSIONS: Mapping[Precision, Callable[[ModelProto, Path, Sequence[Grid]], ModelProto]] = MappingProxyType(
    {
        "fp16": to_half,
        "int8-dynamic": to_dynamic_int8,
        "int8-weights": _to_int8_weights,
        "int4-weights": _to_int4_weights,
        "int4": _to_int4,
    }
)
