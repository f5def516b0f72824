"""Folding BatchNormalization into the convolution or matrix product before it. Changes the graph given."""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, helper

from edgefleet_deploy.onnx_graph import (
    Array,
    GraphView,
    add_initializer,
    attribute,
    remove_nodes,
    rename_uses,
)

_SMALLEST_SCALE = np.float32(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class _Affine:
    """BatchNormalization at inference as y = factor * x + offset, one pair per channel, float64."""

    factor: Array
    offset: Array


def fold_batch_norm(graph: GraphProto) -> int:
    """Fold every BatchNormalization that follows a Conv or Gemm with constant weights; return how many went.

    Conv weight: (out, in/groups, ...). Gemm weight: (out, in) with transB = 1. Where the weight is int8 behind
    DequantizeLinear the factor goes into its scales (its sign into the integers), so that folding loses nothing.
    """
    folded = 0
    for node in list(graph.node):
        if node.op_type == "BatchNormalization" and _fold(graph, node):
            folded += 1
    return folded


def _fold(graph: GraphProto, norm: NodeProto) -> bool:
    view = GraphView(graph)
    layer = view.producer(norm.input[0], "Conv") or view.producer(norm.input[0], "Gemm")
    affine = _affine(view, norm)
    if layer is None or affine is None or not _is_foldable(view, layer, norm):
        return False
    bias = _bias(view, layer, affine)
    weight = view.constant(layer.input[1])
    if bias is None:
        return False
    if weight is not None:
        scaled = weight.astype(np.float64) * _along_first(affine.factor, weight.ndim)
        name = add_initializer(graph, view.fresh_name(f"{layer.input[1]}_folded"), scaled.astype(weight.dtype))
        layer.input[1] = name
    elif not _scale_integers(graph, view, layer, affine):
        return False
    bias_name = add_initializer(graph, view.fresh_name(f"{norm.output[0]}_bias"), bias.astype(np.float32))
    _set_bias(layer, bias_name)
    _drop_norm(graph, layer, norm)
    return True


def _affine(view: GraphView, norm: NodeProto) -> _Affine | None:
    values = [view.constant(name) for name in norm.input[1:5]]
    gain, shift, mean, variance = (None if value is None else value.astype(np.float64) for value in values)
    if gain is None or shift is None or mean is None or variance is None:
        return None
    factor = gain / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    return _Affine(factor=factor, offset=shift - mean * factor)


def _is_foldable(view: GraphView, layer: NodeProto, norm: NodeProto) -> bool:
    if view.only_consumer(layer.output[0], "BatchNormalization") is not norm or len(norm.output) > 1:
        return False
    if layer.op_type == "Conv":
        return True
    return bool(
        attribute(layer, "transB", 0) == 1
        and attribute(layer, "alpha", 1.0) == 1.0
        and attribute(layer, "beta", 1.0) == 1.0
    )


def _bias(view: GraphView, layer: NodeProto, affine: _Affine) -> Array | None:
    if len(layer.input) < 3 or not layer.input[2]:
        return affine.offset
    bias = view.constant(layer.input[2])
    return None if bias is None else bias.astype(np.float64) * affine.factor + affine.offset


def _scale_integers(graph: GraphProto, view: GraphView, layer: NodeProto, affine: _Affine) -> bool:
    dequantize = view.producer(layer.input[1], "DequantizeLinear")
    if dequantize is None or view.only_consumer(dequantize.output[0], layer.op_type) is not layer:
        return False
    integers, scales = view.constant(dequantize.input[0]), view.constant(dequantize.input[1])
    zero_point = view.constant(dequantize.input[2]) if len(dequantize.input) > 2 else np.int8(0)
    if integers is None or scales is None or zero_point is None or integers.dtype != np.int8 or np.any(zero_point):
        return False
    flipped = affine.factor < 0
    channels = integers.reshape(integers.shape[0], -1)
    if np.any(channels[flipped] == -128) or (scales.ndim > 0 and attribute(dequantize, "axis", 1) != 0):
        return False  # -(-128) does not fit int8: the norm stays, exact, rather than being folded wrongly
    signs = np.where(flipped, -1, 1).astype(np.int8)
    new_integers = integers * _along_first(signs, integers.ndim)
    new_scales = np.maximum((scales * np.abs(affine.factor)).astype(np.float32), _SMALLEST_SCALE)
    dequantize.input[0] = add_initializer(graph, view.fresh_name(f"{dequantize.input[0]}_folded"), new_integers)
    dequantize.input[1] = add_initializer(graph, view.fresh_name(f"{dequantize.input[1]}_folded"), new_scales)
    zeros = np.zeros(new_scales.shape, np.int8)
    zero_name = add_initializer(graph, view.fresh_name(f"{dequantize.output[0]}_zero"), zeros)
    del dequantize.input[2:]
    dequantize.input.append(zero_name)
    _set_axis(dequantize, 0)
    return True


def _along_first(values: Array, n_dims: int) -> Array:
    return values.reshape(-1, *([1] * (n_dims - 1)))


def _set_axis(node: NodeProto, axis: int) -> None:
    for item in node.attribute:
        if item.name == "axis":
            item.i = axis
            return
    node.attribute.append(helper.make_attribute("axis", axis))


def _set_bias(layer: NodeProto, name: str) -> None:
    if len(layer.input) > 2:
        layer.input[2] = name
    else:
        layer.input.append(name)


def _drop_norm(graph: GraphProto, layer: NodeProto, norm: NodeProto) -> None:
    is_output = norm.output[0] in {value.name for value in graph.output}
    if is_output:
        layer.output[0] = norm.output[0]
    else:
        rename_uses(graph, norm.output[0], layer.output[0])
    remove_nodes(graph, [norm])
