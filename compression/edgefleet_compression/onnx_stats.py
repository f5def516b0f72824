"""Counts of an ONNX graph: parameters, multiply-accumulates of one sample, zeros."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from edgefleet_compression.records import Stats

_FLOATS: Final = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
Shapes = Mapping[str, tuple[int, ...] | None]


def count_onnx_stats(model: onnx.ModelProto) -> Stats:
    """Return the counts; ``macs`` is None where the shapes of a convolution or product are not known."""
    weights = [tensor for tensor in model.graph.initializer if tensor.data_type in _FLOATS]
    matrices = [numpy_helper.to_array(tensor) for tensor in weights if len(tensor.dims) > 1]
    total = sum(matrix.size for matrix in matrices)
    zeros = sum(int(np.count_nonzero(matrix == 0)) for matrix in matrices)
    return Stats(
        n_parameters=sum(math.prod(tensor.dims) for tensor in weights),
        macs=_count_macs(model),
        sparsity=zeros / total if total else 0.0,
    )


def _count_macs(model: onnx.ModelProto) -> int | None:
    shapes = infer_shapes(model)
    total = 0
    for node in model.graph.node:
        macs = count_node_macs(node, shapes)
        if macs is None:
            return None
        total += macs
    return total


def count_node_macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return the multiply-accumulates of one operator, 0 for one that has none, None where they are not known."""
    if node.op_type in _NOT_COUNTABLE:
        return None
    counter = _COUNTERS.get(node.op_type)
    return 0 if counter is None else counter(node, shapes)


def infer_shapes(model: onnx.ModelProto) -> Shapes:
    """Return name -> shape for one sample (a free first dimension of an input is one), None where it is not known."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    del single.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(single)
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes = {value.name: _shape(value) for value in values}
    shapes.update({tensor.name: tuple(tensor.dims) for tensor in inferred.graph.initializer})
    return shapes


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    dims = [item.dim_value for item in value.type.tensor_type.shape.dim]
    return tuple(dims) if dims and all(length > 0 for length in dims) else None


def _conv_macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    weight, output = shapes.get(node.input[1]), shapes.get(node.output[0])
    if weight is None or output is None:
        return None
    return math.prod(output) * math.prod(weight[1:])


def _gemm_macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
    if left is None or output is None:
        return None
    is_transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(output) * (left[0] if is_transposed else left[-1])


def _conv_transpose_macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    data, weight = shapes.get(node.input[0]), shapes.get(node.input[1])
    if data is None or weight is None:
        return None
    return math.prod(data) * math.prod(weight[1:])


_NOT_COUNTABLE: Final = frozenset({"Einsum", "LSTM", "GRU", "RNN", "If", "Loop", "Scan"})
"""Operators with products that shapes alone do not tell: a count without them would be too low."""

_COUNTERS: Final[Mapping[str, Callable[[onnx.NodeProto, Shapes], int | None]]] = {
    "Conv": _conv_macs,
    "ConvTranspose": _conv_transpose_macs,
    "Gemm": _gemm_macs,
    "MatMul": _gemm_macs,
}
