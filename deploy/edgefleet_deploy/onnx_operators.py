"""What each operator of an ONNX graph costs: the input of latency models, such as the agent's simulated boards.

Activation functions, batch norm and quantize/dequantize pairs count as fused into the operator before them; pooling,
softmax and changes of shape are left out, as in the fit of the model that reads this table (docs/simulation.md).
"""

import math
from collections.abc import Mapping
from typing import Literal

from onnx import ModelProto, NodeProto, TensorProto, helper

from edgefleet_compression.onnx_stats import Shapes, infer_shapes
from edgefleet_deploy.manifest import OperatorCost
from edgefleet_deploy.onnx_graph import GraphView, attribute, has_subgraphs

Kind = Literal["dense", "depthwise", "conv3x3"]

FEW_CHANNELS = 4
"""A spatial convolution over no more channels than an image has counts as dense."""

FREE = frozenset(
    {
        *("BatchNormalization", "Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"),
        *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMean", "Softmax", "LogSoftmax"),
        *("DequantizeLinear", "QuantizeLinear", "Cast", "Constant", "ConstantOfShape", "Dropout", "Identity"),
        *("Flatten", "Gather", "Reshape", "Shape", "Slice", "Squeeze", "Unsqueeze", "ArgMax", "Range", "Expand"),
    }
)
"""Operators without a row of their own; any other that multiplies no matrix is elementwise."""


def count_operators(model: ModelProto) -> tuple[OperatorCost, ...] | None:
    """Return one row per operator in the order of the graph, for one inference of one sample (or of a fixed batch).

    None where the shapes are not all known, or the graph has control flow.
    """
    if has_subgraphs(model):
        return None
    graph, shapes = GraphView(model.graph), infer_shapes(model)
    nodes = [node for node in model.graph.node if node.op_type not in FREE]
    rows = [_cost(node, graph, shapes) for node in nodes]
    known = [row for row in rows if row is not None]
    return tuple(known) if len(known) == len(rows) else None


def _cost(node: NodeProto, graph: GraphView, shapes: Shapes) -> OperatorCost | None:
    constants = {name: tensor for name in node.input if name and (tensor := _stored(name, graph)) is not None}
    moved = [shapes.get(name) for name in (*node.input, *node.output) if name and name not in constants]
    known = [math.prod(shape) for shape in moved if shape is not None]
    counted = _macs(node, constants, shapes) if node.op_type in _MULTIPLYING else ("elementwise", 0)
    if len(known) < len(moved) or counted is None:
        return None
    kind, macs = counted
    weight_bytes = sum(_tensor_bytes(tensor) for tensor in constants.values())
    return OperatorCost(kind=kind, macs=macs, weight_bytes=weight_bytes, activation_elements=sum(known))


def _stored(name: str, graph: GraphView) -> TensorProto | None:
    """Return the constant behind a name, through a DequantizeLinear if there is one: as it is stored in the file."""
    if name in graph.initializers:
        return graph.initializers[name]
    producer = graph.producer(name, "DequantizeLinear")
    return None if producer is None else graph.initializers.get(producer.input[0])


def _tensor_bytes(tensor: TensorProto) -> int:
    n_elements: int = math.prod(tensor.dims)
    return n_elements * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _macs(node: NodeProto, constants: Mapping[str, TensorProto], shapes: Shapes) -> tuple[Kind, int] | None:
    first, output = shapes.get(node.input[0]), shapes.get(node.output[0])
    if first is None or output is None:
        return None
    if node.op_type in ("Gemm", "MatMul"):
        is_transposed = bool(attribute(node, "transA", 0))
        return "dense", math.prod(output) * (first[0] if is_transposed else first[-1])
    stored = constants.get(node.input[1])
    kernel = tuple(stored.dims) if stored is not None else shapes.get(node.input[1])
    if kernel is None:
        return None
    positions = math.prod(first if node.op_type == "ConvTranspose" else output)
    return _kind_of(node, kernel), positions * math.prod(kernel[1:])


def _kind_of(node: NodeProto, kernel: tuple[int, ...]) -> Kind:
    if kernel[1] == 1 and int(attribute(node, "group", 1)) > 1:
        return "depthwise"
    is_spatial = math.prod(kernel[2:]) > 1 and kernel[1] > FEW_CHANNELS
    return "conv3x3" if is_spatial else "dense"


_MULTIPLYING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
