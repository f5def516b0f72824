"""Weight-only quantization: weights as int8 or int4 initializers behind DequantizeLinear, arithmetic in float.

int8 has one scale per output channel, int4 one per block of 32 weights of a channel; weights that are on a grid already
keep its scales. Changes the model given.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_graph import Array, GraphView, add_initializer, attribute, drop_unused, insert_before
from edgefleet_deploy.onnx_quantization import quantize_linear
from edgefleet_deploy.onnx_versions import opset_of

BLOCK = 32
"""Weights that share a scale at 4 bits. 32 costs 5 bits a weight with float32 scales; it is a size onnxruntime fuses
into its 4-bit matrix product (block sizes 16 and up, powers of two)."""

INT4_OPSET = 21
"""First opset with int4 and with ``block_size`` (ONNX operator changelog, DequantizeLinear-21)."""

INT2_OPSET = 25
"""First opset with int2 (ONNX operator changelog, DequantizeLinear-25). onnxruntime 1.24.4, 1.25.1, 1.26.0 and 1.31.1 were
seen to compute with it; 1.23 has no opset 25."""

NODE_BYTES = 96
"""A DequantizeLinear node with its names: a weight that would not save this much stays float."""

_SMALLEST_SCALE = np.float32(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Grid:
    """Weights that are integers times a scale per output channel already.

    weight: (channels, ...) float32 as the network has it. scales: (channels,). bits: (channels,) where channels or layers
    differ in their bits, else None: the file's. Stored as 8 bits, as 4, or, up to 2 bits and from opset 25 on, as 2.
    """

    weight: Array
    scales: Array
    bits: Array | None = None

    def key(self) -> bytes:
        """What the weight is found by in a graph."""
        return _key(self.weight)


def _key(weight: Array) -> bytes:
    contiguous = np.ascontiguousarray(weight, np.float32)
    return hashlib.sha256(repr(contiguous.shape).encode() + contiguous.tobytes()).digest()


@dataclass(frozen=True)
class _Layout:
    """Where the output channels of a weight are: matrices are handled as (channels, rest) or its transpose."""

    channel_axis: int
    is_convolution: bool


def store_weights_as_integers(model: ModelProto, *, bits: Literal[4, 8], grids: Sequence[Grid] = ()) -> int:
    """Quantize the constant weights of Conv, ConvTranspose, Gemm, MatMul and Gather; return how many there were.

    Scales are max|w| / 127 or / 7, integers symmetric. Weights too small to save anything stay float. Weights of ``grids``
    are stored as the integers they are, in the narrowest type that the graph's opset has.
    """
    known = {grid.key(): grid for grid in grids}
    if bits == 4 and opset_of(model) < INT4_OPSET:
        raise CandidateRefused(
            f"4-bit weights need opset {INT4_OPSET}, this graph has {opset_of(model)}", code="opset_too_old"
        )
    count = 0
    for name, layout in _weights(model.graph).items():
        view = GraphView(model.graph)
        weight = view.constant(name)
        if weight is None or weight.dtype != np.float32:
            continue
        grid = known.get(_key(np.moveaxis(weight, layout.channel_axis, 0)))
        if grid is not None:
            count += _store_grid(model, name, weight, layout, grid, bits)
        elif bits == 8:
            count += _store_int8(model.graph, name, weight, layout)
        else:
            count += _store_int4(model.graph, name, weight, layout)
    drop_unused(model.graph)
    return count


def _weights(graph: GraphProto) -> dict[str, _Layout]:
    """Return name -> layout of every constant that only layers of one layout read."""
    view = GraphView(graph)
    found: dict[str, _Layout] = {}
    for name, tensor in view.initializers.items():
        layouts = {_layout(node, name, len(tensor.dims)) for node in view.consumers[name]}
        layout = next(iter(layouts)) if len(layouts) == 1 else None
        if layout is not None and name not in view.outputs:
            found[name] = layout
    return found


def _layout(node: NodeProto, name: str, rank: int) -> _Layout | None:
    if node.op_type == "Gather" and node.input[0] == name and rank == 2 and attribute(node, "axis", 0) == 0:
        return _Layout(channel_axis=0, is_convolution=False)
    if len(node.input) < 2 or node.input[1] != name or name in (node.input[0], *node.input[2:]):
        return None
    if node.op_type == "Conv" and rank >= 3:
        return _Layout(channel_axis=0, is_convolution=True)
    if node.op_type == "ConvTranspose" and rank >= 3 and attribute(node, "group", 1) == 1:
        return _Layout(channel_axis=1, is_convolution=True)
    if node.op_type == "Gemm" and rank == 2:
        return _Layout(channel_axis=0 if attribute(node, "transB", 0) else 1, is_convolution=False)
    return _Layout(channel_axis=1, is_convolution=False) if node.op_type == "MatMul" and rank == 2 else None


def _store_grid(
    model: ModelProto, name: str, weight: Array, layout: _Layout, grid: Grid, file_bits: Literal[4, 8]
) -> int:
    axis = layout.channel_axis
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    integers = np.rint(weight.astype(np.float64) / grid.scales.reshape(shape)).astype(np.int8)
    scales = grid.scales.astype(np.float32)
    widths = _stored_bits(grid, len(scales), file_bits, opset_of(model))
    widest = int(widths.max())
    saved_bytes = float((widest - widths).mean()) / 8 * integers.size
    if saved_bytes > (len(set(widths.tolist())) + 1) * NODE_BYTES + 4 * len(scales):
        return _store_groups(model.graph, name, integers, scales, axis, widths)
    if 4 * weight.size <= weight.size * widest // 8 + scales.nbytes + NODE_BYTES:
        return 0
    inputs = [_integers(model.graph, name, integers, widest), _scales(model.graph, name, scales)]
    _dequantize(model.graph, name, [helper.make_node("DequantizeLinear", inputs, [], axis=axis)])
    return 1


def _stored_bits(grid: Grid, n_channels: int, file_bits: Literal[4, 8], opset: int) -> Array:
    """Return the bits that each output channel (n_channels,) takes in the file."""
    if grid.bits is None:
        return np.full(n_channels, file_bits)
    narrowest = 2 if opset >= INT2_OPSET else 4
    return np.where(grid.bits > 4, 8, np.where(grid.bits > 2, 4, narrowest))


def _store_groups(graph: GraphProto, name: str, integers: Array, scales: Array, axis: int, widths: Array) -> int:
    """Store channels of equal bits in a tensor each: all dequantized, joined, and put back in their order."""
    view = GraphView(graph)
    nodes: list[NodeProto] = []
    groups = {bits: np.flatnonzero(widths == bits) for bits in sorted(set(widths.tolist()), reverse=True)}
    for bits, members in groups.items():
        inputs = [
            _integers(graph, name, integers.take(members, axis=axis), bits),
            _scales(graph, name, scales[members]),
        ]
        output = view.fresh_name(f"{name}_float{bits}")
        nodes.append(helper.make_node("DequantizeLinear", inputs, [output], axis=axis))
    joined = view.fresh_name(f"{name}_joined")
    nodes.append(helper.make_node("Concat", [node.output[0] for node in nodes], [joined], axis=axis))
    order = np.argsort(np.concatenate(list(groups.values()))).astype(np.int32)
    indices = add_initializer(graph, view.fresh_name(f"{name}_order"), order)
    nodes.append(helper.make_node("Gather", [joined, indices], [], axis=axis))
    _dequantize(graph, name, nodes)
    return 1


def _integers(graph: GraphProto, name: str, integers: Array, bits: int) -> str:
    fresh = GraphView(graph).fresh_name(f"{name}_int{bits}")
    if bits == 8:
        return add_initializer(graph, fresh, integers)
    graph.initializer.append(pack_int4(fresh, integers) if bits == 4 else pack_int2(fresh, integers))
    return fresh


def _store_int8(graph: GraphProto, name: str, weight: Array, layout: _Layout) -> int:
    axis = layout.channel_axis
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scales = np.maximum(np.abs(weight).max(axis=others) / np.float32(127), _SMALLEST_SCALE).astype(np.float32)
    if 3 * weight.size <= scales.nbytes + NODE_BYTES:
        return 0
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    integers = quantize_linear(weight, scales.reshape(shape), np.zeros((), np.int8))
    view = GraphView(graph)
    stored = add_initializer(graph, view.fresh_name(f"{name}_int8"), integers)
    inputs = [stored, _scales(graph, name, scales)]
    _dequantize(graph, name, [helper.make_node("DequantizeLinear", inputs, [], axis=axis)])
    return 1


def _store_int4(graph: GraphProto, name: str, weight: Array, layout: _Layout) -> int:
    # blocks run along a channel's own weights; kernels are laid out flat, so that small ones fill a block
    if layout.is_convolution and layout.channel_axis != 0:
        return _store_int8(graph, name, weight, layout)
    matrix = weight.reshape(weight.shape[0], -1) if layout.is_convolution else weight
    axis = 1 - layout.channel_axis
    scales = _block_scales(matrix, axis)
    if 4 * weight.size <= weight.size // 2 + scales.nbytes + 2 * NODE_BYTES:
        return 0
    spread = np.repeat(scales, BLOCK, axis=axis).take(range(matrix.shape[axis]), axis=axis)
    integers = np.clip(np.rint(matrix.astype(np.float64) / spread), -7, 7).astype(np.int8)
    view = GraphView(graph)
    stored = view.fresh_name(f"{name}_int4")
    graph.initializer.append(pack_int4(stored, integers))
    inputs = [stored, _scales(graph, name, scales)]
    node = helper.make_node("DequantizeLinear", inputs, [], axis=axis, block_size=BLOCK)
    _dequantize(graph, name, [node], shape=weight.shape if layout.is_convolution else None)
    return 1


def _block_scales(matrix: Array, axis: int) -> Array:
    """Return max|w| / 7 of every block: the matrix's shape with ceil(length / 32) along the axis."""
    length = matrix.shape[axis]
    padding = [(0, 0), (0, 0)]
    padding[axis] = (0, -length % BLOCK)
    padded = np.abs(np.pad(matrix, padding))
    shape = list(padded.shape)
    shape[axis : axis + 1] = [shape[axis] // BLOCK, BLOCK]
    peaks = padded.reshape(shape).max(axis=axis + 1)
    scales: Array = np.maximum(peaks / np.float32(7), _SMALLEST_SCALE).astype(np.float32)
    return scales


def pack_int4(name: str, integers: Array) -> TensorProto:
    """Return an INT4 tensor of integers -8 to 7: two to a byte, the first in the low half (onnx.proto, INT4)."""
    flat = integers.astype(np.int8).ravel()
    padded = np.append(flat, np.zeros(flat.size % 2, np.int8)).view(np.uint8) & np.uint8(15)
    packed = (padded[0::2] | (padded[1::2] << np.uint8(4))).astype(np.uint8)
    return TensorProto(name=name, data_type=TensorProto.INT4, dims=list(integers.shape), raw_data=packed.tobytes())


def pack_int2(name: str, integers: Array) -> TensorProto:
    """Return an INT2 tensor of integers -2 to 1: four to a byte, the first in the lowest bits (onnx.proto, INT2)."""
    flat = integers.astype(np.int8).ravel()
    padded = np.append(flat, np.zeros(-flat.size % 4, np.int8)).view(np.uint8) & np.uint8(3)
    packed = np.bitwise_or.reduce(padded.reshape(-1, 4) << np.array([0, 2, 4, 6], np.uint8), axis=1).astype(np.uint8)
    return TensorProto(name=name, data_type=TensorProto.INT2, dims=list(integers.shape), raw_data=packed.tobytes())


def _scales(graph: GraphProto, name: str, scales: Array) -> str:
    return add_initializer(graph, GraphView(graph).fresh_name(f"{name}_scale"), scales)


def _dequantize(
    graph: GraphProto, name: str, nodes: Sequence[NodeProto], *, shape: tuple[int, ...] | None = None
) -> None:
    """Make every reader of the constant read what the last node makes of its integers, reshaped where the kernel was laid
    out flat.
    """
    view = GraphView(graph)
    readers = view.consumers[name]
    output = view.fresh_name(f"{name}_float")
    nodes[-1].output.append(output)
    for node in nodes:
        insert_before(graph, readers[0], node)
    if shape is not None:
        target = add_initializer(graph, view.fresh_name(f"{name}_shape"), np.array(shape, np.int64))
        flat, output = output, view.fresh_name(f"{name}_kernel")
        insert_before(graph, readers[0], helper.make_node("Reshape", [flat, target], [output]))
    for reader in readers:
        for index, read in enumerate(reader.input):
            if read == name:
                reader.input[index] = output
