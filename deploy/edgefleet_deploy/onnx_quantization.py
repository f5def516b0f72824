"""Folding fake-quant pairs to integers: int8 weights and int32 biases in the file. Changes the graph given.

After constant folding a quantized weight is int8 behind DequantizeLinear. What is left to do: take transposes out of
the way, and store each bias as int32 with scale ``input_scale * weight_scale`` (ONNX QLinearConv, input B), which lets
onnxruntime replace the whole pattern by an integer kernel.
"""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, helper

from edgefleet_deploy.onnx_graph import Array, GraphView, add_initializer, attribute, insert_before, rename_uses

INT32_LIMIT = 2**30
"""Largest magnitude of an integer bias; half of int32's range, so that the accumulator cannot overflow by it."""


def quantize_linear(values: Array, scale: Array, zero_point: Array) -> Array:
    """Return saturate(round_half_even(values / scale) + zero_point) in the zero point's type (ONNX QuantizeLinear).

    scale and zero_point must broadcast against values.
    """
    info = np.iinfo(zero_point.dtype)
    levels = np.rint(values.astype(np.float64) / scale.astype(np.float64)) + zero_point
    integers: Array = np.clip(levels, info.min, info.max).astype(zero_point.dtype)
    return integers


def fold_transposed_weights(graph: GraphProto) -> int:
    """Replace Transpose of a dequantized constant by the transposed integers; return how many there were."""
    folded = 0
    for node in list(graph.node):
        if node.op_type != "Transpose":
            continue
        view = GraphView(graph)
        dequantize = view.producer(node.input[0], "DequantizeLinear")
        integers = view.constant(dequantize.input[0]) if dequantize is not None else None
        if dequantize is None or integers is None or node.output[0] in view.outputs:
            continue
        _transpose(graph, view, node, dequantize, integers)
        folded += 1
    return folded


def _transpose(graph: GraphProto, view: GraphView, node: NodeProto, dequantize: NodeProto, integers: Array) -> None:
    order = attribute(node, "perm", list(reversed(range(integers.ndim))))
    axis = attribute(dequantize, "axis", 1) % max(integers.ndim, 1)
    name = add_initializer(graph, view.fresh_name(f"{node.output[0]}_int"), integers.transpose(order))
    turned = helper.make_node(
        "DequantizeLinear", [name, *dequantize.input[1:]], [f"{name}_float"], axis=order.index(axis)
    )
    insert_before(graph, node, turned)
    rename_uses(graph, node.output[0], turned.output[0])


@dataclass(frozen=True)
class _QuantizedLayer:
    """The constants of a Conv or Gemm whose input and weight are both dequantized integers."""

    node: NodeProto
    weight: NodeProto
    input_scale: np.float32
    weight_scale: Array
    bias: Array


def fold_biases(graph: GraphProto) -> int:
    """Store every float bias of a quantized Conv or Gemm as int32 behind DequantizeLinear; return how many.

    Weights must be symmetric (zero point 0); other layers keep a float bias. The rounding error of a bias is at most half of ``input_scale * weight_scale``.
    """
    folded = 0
    for node in list(graph.node):
        layer = _quantized_layer(GraphView(graph), node)
        if layer is not None:
            _store_bias(graph, layer)
            folded += 1
    return folded


def _quantized_layer(view: GraphView, node: NodeProto) -> _QuantizedLayer | None:
    if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or not node.input[2]:
        return None
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        return None
    data = view.producer(node.input[0], "DequantizeLinear")
    weight = view.producer(node.input[1], "DequantizeLinear")
    bias = view.constant(node.input[2])
    if data is None or weight is None or bias is None or bias.dtype != np.float32 or bias.ndim != 1:
        return None
    input_scale, weight_scale = view.constant(data.input[1]), view.constant(weight.input[1])
    if input_scale is None or weight_scale is None or input_scale.size != 1 or weight_scale.size not in (1, bias.size):
        return None
    zero_point = view.constant(weight.input[2]) if len(weight.input) > 2 else None
    if zero_point is not None and np.any(zero_point):
        return None
    layer = _QuantizedLayer(node, weight, np.float32(input_scale.reshape(())), weight_scale, bias)
    is_shared = len(view.consumers[weight.output[0]]) > 1
    return None if is_shared and np.any(_widened_scale(layer) != weight_scale) else layer


def _store_bias(graph: GraphProto, layer: _QuantizedLayer) -> None:
    weight_scale = _widened_scale(layer)
    if np.any(weight_scale != layer.weight_scale):
        _requantize_weight(graph, layer, weight_scale)
    bias_scale = (layer.input_scale * weight_scale).astype(np.float32)
    integers = quantize_linear(layer.bias, bias_scale, np.zeros((), np.int32))
    view = GraphView(graph)
    bias_name = layer.node.input[2]
    inputs = [
        add_initializer(graph, view.fresh_name(f"{bias_name}_int32"), integers),
        add_initializer(graph, view.fresh_name(f"{bias_name}_scale"), bias_scale),
    ]
    output = view.fresh_name(f"{bias_name}_float")
    insert_before(graph, layer.node, helper.make_node("DequantizeLinear", inputs, [output], axis=0))
    layer.node.input[2] = output


def _widened_scale(layer: _QuantizedLayer) -> Array:
    """Return weight scales just large enough that no bias leaves int32.

    A dead channel (weights of about 1e-10 and an ordinary bias, as pruning and BatchNorm folding leave them) would
    otherwise need a bias beyond int32; its weights are below the resolution of the wider scale and vanish, correctly.
    """
    magnitude = np.abs(layer.bias.astype(np.float64))
    if layer.weight_scale.ndim == 0 or layer.weight_scale.size == 1 < layer.bias.size:
        magnitude = np.asarray(magnitude.max())
    least = magnitude / (float(layer.input_scale) * INT32_LIMIT)
    return np.maximum(layer.weight_scale, least.reshape(layer.weight_scale.shape)).astype(np.float32)


def _requantize_weight(graph: GraphProto, layer: _QuantizedLayer, scale: Array) -> None:
    view = GraphView(graph)
    integers = view.constant(layer.weight.input[0])
    if integers is None:
        return
    shape = [1] * integers.ndim
    if scale.ndim:
        shape[attribute(layer.weight, "axis", 1)] = scale.size
    old, new = layer.weight_scale.reshape(shape), scale.reshape(shape)
    narrowed = quantize_linear(integers * old.astype(np.float64), new, np.zeros((), integers.dtype))
    layer.weight.input[0] = add_initializer(graph, view.fresh_name(f"{layer.weight.input[0]}_wide"), narrowed)
    layer.weight.input[1] = add_initializer(graph, view.fresh_name(f"{layer.weight.input[1]}_wide"), scale)
