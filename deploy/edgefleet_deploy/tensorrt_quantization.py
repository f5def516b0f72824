"""Symmetric int8 for TensorRT, which knows no zero points. Changes the model given.

TensorRT takes signed activations with zero point 0 only (onnx-tensorrt docs/operators.md, QuantizeLinear and
DequantizeLinear; "Working with Quantized Types", docs.nvidia.com). Its 8.x parser takes no int8 initializers
(megvii-research/Sparsebit issue 16: "invalid weights type of Int8" under 8.2.5) and no int32 behind DequantizeLinear
(microsoft/onnxruntime issue 14229), so weights stay float in front of a Q/DQ pair and biases stay float. That form is
documented for every version up to 11 ("Explicit Quantization", section Quantized Weights).
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_graph import Array, GraphView, add_initializer

INT8_LIMIT = 127
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def make_symmetric(model: ModelProto) -> int:
    """Give every per-tensor Q/DQ node with a zero point the symmetric int8 scale of the same range; return how many.

    The range [low, high] that the old integers covered becomes [-peak, peak] with peak = max(-low, high), at a scale of
    peak / 127: where activations are never negative, half of the integers stay unused.
    """
    changed = 0
    for node in model.graph.node:
        if node.op_type not in _PAIR:
            continue
        view = GraphView(model.graph)
        scale, zero_point = _constants(view, node)
        if scale.ndim == 0 and (zero_point.dtype != np.int8 or zero_point != 0):
            _replace(model, view, node, scale, zero_point)
            changed += 1
    return changed


def _constants(view: GraphView, node: NodeProto) -> tuple[Array, Array]:
    scale = view.constant(node.input[1])
    zero_point = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
    if scale is None or zero_point is None:
        raise CandidateRefused(
            f"{node.op_type} {node.name!r} computes its scale while running; TensorRT needs it as a constant: quantize the "
            "model with static ranges",
            code="dynamic_scale",
        )
    return scale.reshape(()) if scale.size == 1 else scale, zero_point.reshape(
        ()
    ) if zero_point.size == 1 else zero_point


def _replace(model: ModelProto, view: GraphView, node: NodeProto, scale: Array, zero_point: Array) -> None:
    info = np.iinfo(zero_point.dtype)
    reach = max(int(zero_point) - int(info.min), int(info.max) - int(zero_point))
    # named after the old pair, so that both nodes of a pair and all readers share the new constants
    suffix = f"{node.input[1]}_{zero_point.dtype}_{int(zero_point)}"
    names = [f"{suffix}_symmetric", "symmetric_zero"]
    values: list[Array] = [np.asarray(scale * np.float32(reach / INT8_LIMIT), np.float32), np.zeros((), np.int8)]
    for name, value in zip(names, values, strict=True):
        if name not in view.initializers:
            add_initializer(model.graph, name, value)
    del node.input[1:]
    node.input.extend(names)


def refuse_asymmetric(model: ModelProto) -> None:
    """Raise CandidateRefused ``asymmetric_quantization`` for Q/DQ that TensorRT would refuse on the device."""
    for node in model.graph.node:
        if node.op_type not in _PAIR:
            continue
        view = GraphView(model.graph)
        _, zero_point = _constants(view, node)
        stored = view.initializers.get(node.input[0])
        has_integers = stored is not None and stored.data_type in (TensorProto.INT8, TensorProto.INT32)
        if zero_point.dtype != np.int8 or np.any(zero_point) or has_integers:
            raise CandidateRefused(
                f"{node.op_type} {node.name!r} is not signed and symmetric with float weights, which is all that TensorRT "
                "takes: give the float model and let the recipe quantize it",
                code="asymmetric_quantization",
                detail={"operator": node.op_type},
            )
