"""Activations of 4 bits in an ONNX file: QuantizeLinear to 16 values and back, arithmetic in float.

The exporter of torch writes activations of 8 bits only. So the network goes through it with points of 8 bits, whose scale and
zero point are those of the 4-bit ones, and the graph's zero points get the 4-bit type afterwards: that type is what
QuantizeLinear saturates to (ONNX operator changelog, QuantizeLinear-21).
"""

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from torch import fx, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.quantization.graph import list_points, strip_weight_rounding
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_graph import GraphView, add_initializer, drop_unused, insert_before, rename_uses
from edgefleet_deploy.onnx_versions import opset_of
from edgefleet_deploy.onnx_weights import INT4_OPSET

_NARROW = {"uint8": TensorProto.UINT4, "int8": TensorProto.INT4}


def with_wide_activations(candidate: TorchCandidate) -> nn.Module:
    """Return a copy of the network, its weights rounded already, that rounds activations to 256 values by the same scales."""
    if not isinstance(candidate.model, fx.GraphModule):
        raise CandidateRefused("the network has no activations to round", code="not_exportable")
    network = strip_weight_rounding(candidate.model)
    for point in list_points(network).values():
        point.quant_min = -128 if point.quant_min < 0 else 0
        point.quant_max = point.quant_min + 255
    return network


def narrow_activations(model: ModelProto) -> int:
    """Give every QuantizeLinear and DequantizeLinear a zero point of 4 bits; return how many there were.

    Changes the model given, which must have no integer weights yet.
    """
    graph = model.graph
    count = 0
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.input[2] = _narrow_zero_point(model, node)
            count += 1
    drop_unused(graph)
    if opset_of(model) < INT4_OPSET:  # from 20 to 21 operators gained types and lost none
        next(entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")).version = INT4_OPSET
    return count


def _narrow_zero_point(model: ModelProto, node: NodeProto) -> str:
    view = GraphView(model.graph)
    wide = view.constant(node.input[2]) if len(node.input) > 2 else None
    if wide is None or wide.dtype.name not in _NARROW:
        raise CandidateRefused(
            f"{node.op_type} {node.name!r} has no constant zero point of 8 bits", code="not_exportable"
        )
    name = f"{node.input[2]}_4"
    if name not in view.initializers:
        value = int(np.asarray(wide).reshape(())) & 15
        model.graph.initializer.append(
            TensorProto(name=name, data_type=_NARROW[wide.dtype.name], raw_data=bytes([value]))
        )
    return name


def keep_wide_weights_float(graph: GraphProto) -> int:
    """Put a Reshape to its own shape behind every dequantized weight of 8 bits; return how many there were.

    onnxruntime (seen in 1.31) takes a 4-bit activation beside an 8-bit weight for its 8-bit kernel, whose types then do not fit, and
    refuses the file. Behind a Reshape it does not look.
    """
    count = 0
    for node in list(graph.node):
        view = GraphView(graph)
        integers = view.constant(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if integers is None or integers.dtype != np.int8 or integers.ndim < 2 or _is_4_bit(view, node.input[0]):
            continue
        shape = add_initializer(graph, view.fresh_name(f"{node.input[0]}_shape"), np.array(integers.shape, np.int64))
        output = view.fresh_name(f"{node.output[0]}_kept")
        reader = view.consumers[node.output[0]][0]
        rename_uses(graph, node.output[0], output)
        insert_before(graph, reader, helper.make_node("Reshape", [node.output[0], shape], [output]))
        count += 1
    return count


def _is_4_bit(view: GraphView, name: str) -> bool:
    return view.initializers[name].data_type in (TensorProto.INT4, TensorProto.UINT4)
