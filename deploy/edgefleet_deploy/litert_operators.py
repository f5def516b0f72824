"""What each operator of a .tflite file costs, and which operators it has; read from the flatbuffer."""

import math
from collections import Counter
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefleet_deploy.litert_flatbuffer import constant_of, operator_name
from edgefleet_deploy.manifest import OperatorCost
from edgefleet_deploy.onnx_operators import FEW_CHANNELS

Kind = Literal["dense", "depthwise", "conv3x3", "elementwise"]

FREE = frozenset(
    {
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "REDUCE_MAX", "SUM", "SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "PAD"),
        *("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "GELU", "PRELU", "LEAKY_RELU", "QUANTIZE", "DEQUANTIZE"),
        *("CAST", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "SLICE", "STRIDED_SLICE", "GATHER", "GATHER_ND"),
        *("EMBEDDING_LOOKUP", "BROADCAST_TO", "FILL", "RANGE"),
    }
)
"""Operators without a row of their own, as in onnx_operators: fused into their neighbour, or moving no numbers."""

_BYTES = {
    schema.TensorType.FLOAT32: 4.0,
    schema.TensorType.INT32: 4.0,
    schema.TensorType.INT64: 8.0,
    schema.TensorType.FLOAT16: 2.0,
    schema.TensorType.INT16: 2.0,
    schema.TensorType.INT8: 1.0,
    schema.TensorType.UINT8: 1.0,
    schema.TensorType.BOOL: 1.0,
    schema.TensorType.INT4: 0.5,
}


def list_operators(model: Any) -> dict[str, int]:
    """Return operator name -> how often it stands in the file (schema ModelT)."""
    (graph,) = model.subgraphs
    return dict(sorted(Counter(operator_name(model, operator) for operator in graph.operators).items()))


def count_fused_activations(model: Any) -> int:
    """Return how many operators compute the activation function that follows them."""
    (graph,) = model.subgraphs
    options = [operator.builtinOptions for operator in graph.operators]
    return sum(bool(getattr(option, "fusedActivationFunction", 0)) for option in options)


def count_operators(model: Any) -> tuple[OperatorCost, ...] | None:
    """Return one row per operator in the order of the file, for one inference; None for shapes or types not known."""
    (graph,) = model.subgraphs
    constants = _constants(model)
    rows: list[OperatorCost] = []
    for operator in graph.operators:
        name = operator_name(model, operator)
        if name in FREE:
            continue
        inputs = [int(index) for index in operator.inputs if index >= 0]
        moved = [graph.tensors[i] for i in (*inputs, *operator.outputs) if i not in constants]
        stored = [graph.tensors[constants[index]] for index in inputs if index in constants]
        if any(tensor.shape is None or tensor.type not in _BYTES for tensor in (*moved, *stored)):
            return None
        kind, macs = _macs(name, operator, graph)
        rows.append(
            OperatorCost(
                kind=kind,
                macs=macs,
                weight_bytes=sum(math.ceil(_size(tensor) * _BYTES[tensor.type]) for tensor in stored),
                activation_elements=sum(_size(tensor) for tensor in moved),
            )
        )
    return tuple(rows)


def _constants(model: Any) -> dict[int, int]:
    """Return tensor -> constant tensor it comes from: itself, or the one behind a DEQUANTIZE."""
    (graph,) = model.subgraphs
    found = {index: index for index, tensor in enumerate(graph.tensors) if constant_of(model, tensor) is not None}
    for operator in graph.operators:
        source = int(operator.inputs[0]) if len(operator.inputs) else -1
        if operator_name(model, operator) == "DEQUANTIZE" and source in found:
            found[int(operator.outputs[0])] = found[source]
    return found


def _macs(name: str, operator: Any, graph: Any) -> tuple[Kind, int]:
    output = graph.tensors[operator.outputs[0]]
    if name in ("CONV_2D", "FULLY_CONNECTED"):
        kernel = [int(dim) for dim in graph.tensors[operator.inputs[1]].shape]
        is_spatial = math.prod(kernel[1:-1]) > 1 and kernel[-1] > FEW_CHANNELS
        return "conv3x3" if is_spatial else "dense", _size(output) * math.prod(kernel[1:])
    if name == "DEPTHWISE_CONV_2D":
        kernel = [int(dim) for dim in graph.tensors[operator.inputs[1]].shape]
        # a convolution over one channel is written as a depthwise one
        kind: Kind = "dense" if int(operator.builtinOptions.depthMultiplier) == kernel[-1] else "depthwise"
        return kind, _size(output) * math.prod(kernel[1:-1])
    if name == "BATCH_MATMUL":
        left = graph.tensors[operator.inputs[0]]
        inner = int(left.shape[-2 if operator.builtinOptions.adjX else -1])
        return "dense", _size(output) * inner
    return "elementwise", 0


def _size(tensor: Any) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))
