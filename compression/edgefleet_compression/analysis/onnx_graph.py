"""The analysis of an ONNX file that has no torch form: what its shapes and weights say."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import onnx
import torch
from onnx import numpy_helper

from edgefleet_compression.analysis.document import Analysis, ExpectedSize, LayerAnalysis
from edgefleet_compression.analysis.expected import bytes_of_weights
from edgefleet_compression.analysis.redundancy import measure_redundancy
from edgefleet_compression.candidate import OnnxCandidate
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.onnx_stats import count_node_macs, count_onnx_stats, infer_shapes
from edgefleet_compression.passes.specs import Cast, Quantize
from edgefleet_compression.recipe import Recipe

FLOAT_BYTES: Final = 4
NO_TORCH_FORM: Final = "no_torch_form"
SHAPE_UNKNOWN: Final = "shape_unknown"
NOT_COUNTABLE: Final = "macs_not_countable"
"""A shape is not known, or an operator's work does not follow from shapes."""
_WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators with a weight as second input."""

Shapes = Mapping[str, tuple[int, ...] | None]


def analyze_graph(candidate: OnnxCandidate, obstacles: Sequence[str], recipes: Sequence[Recipe]) -> Analysis:
    """Return what can be known of the graph without running it; everything else is null, with its reason in ``unknown``.

    Raises PassRefused ``already_quantized``.
    """
    precision = candidate.traits.precision
    if precision != "fp32":
        raise PassRefused(f"The ONNX graph is {precision} already: analyse the float model.", code="already_quantized")
    graph, shapes = candidate.model.graph, infer_shapes(candidate.model)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    layers = [_layer(node, tensors, shapes) for node in graph.node if _is_weighted(node, tensors)]
    stats, peak = count_onnx_stats(candidate.model), _peak_bytes(graph, shapes)
    unknown = dict.fromkeys(("macs_by_counter", "baseline", "pruned", "rounded"), NO_TORCH_FORM)
    unknown |= {"macs": NOT_COUNTABLE} if stats.macs is None else {}
    unknown |= {"peak_activation_bytes": SHAPE_UNKNOWN} if peak is None else {}
    n_weights = sum(layer.n_parameters for layer in layers)
    saved = sum(layer.redundant_share * layer.n_parameters for layer in layers)
    return Analysis(
        form="onnx",
        n_parameters=stats.n_parameters,
        macs=stats.macs,
        macs_by_counter=None,
        peak_activation_bytes=peak,
        redundant_share=saved / n_weights if n_weights else 0.0,
        baseline=None,
        n_samples=0,
        layers=tuple(layers),
        expected=tuple(_expect(recipe, graph, stats.n_parameters, stats.macs) for recipe in recipes),
        unknown=unknown,
        obstacles=tuple(obstacles),
    )


def _layer(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto], shapes: Shapes) -> LayerAnalysis:
    weight, output = tensors[node.input[1]], shapes.get(node.output[0])
    redundancy = measure_redundancy(torch.from_numpy(numpy_helper.to_array(weight).copy()))
    bias = tensors.get(node.input[2]) if len(node.input) > 2 else None
    return LayerAnalysis(
        name=node.name or node.output[0],
        kind=node.op_type,
        n_parameters=math.prod(weight.dims) + (math.prod(bias.dims) if bias is not None else 0),
        macs=count_node_macs(node, shapes),
        macs_by_counter=None,
        activation_bytes=None if output is None else math.prod(output) * FLOAT_BYTES,
        energy_rank_ratio=redundancy.rank_ratio,
        redundant_share=redundancy.share,
    )


def _peak_bytes(graph: onnx.GraphProto, shapes: Shapes) -> int | None:
    """Return the largest sum of bytes of values alive at once, in the order of the nodes, at 4 bytes a number."""
    constants = {tensor.name for tensor in graph.initializer}
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input if name}
    last_use |= {value.name: len(graph.node) for value in graph.output}
    alive = [value.name for value in graph.input if value.name not in constants]
    peak = 0
    for index, node in enumerate(graph.node):
        alive += [name for name in node.output if name]
        sizes = [shapes.get(name) for name in alive]
        if any(size is None for size in sizes):
            return None
        peak = max(peak, sum(math.prod(size) * FLOAT_BYTES for size in sizes if size is not None))
        alive = [name for name in alive if last_use.get(name, -1) > index]
    return peak


def _expect(recipe: Recipe, graph: onnx.GraphProto, n_parameters: int, macs: int | None) -> ExpectedSize:
    needs_torch = any(
        not isinstance(spec, Quantize | Cast) or (isinstance(spec, Quantize) and spec.needs_torch)
        for spec in recipe.passes
    )
    if needs_torch:
        return ExpectedSize(
            recipe=recipe.name,
            size_bytes=None,
            n_parameters=None,
            macs=None,
            reason="needs_torch_model",
            message="A pass of the recipe needs a torch form, which this file does not have: see obstacles.",
        )
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {node.input[1]: node for node in graph.node if _is_weighted(node, tensors)}
    n_weights = sum(math.prod(tensors[name].dims) for name in nodes)
    n_channels = sum(_n_channels(node, tensors[name].dims) for name, node in nodes.items())
    size_bytes = bytes_of_weights(n_weights, n_channels, max(0, n_parameters - n_weights - n_channels), recipe)
    return ExpectedSize(recipe=recipe.name, size_bytes=size_bytes, n_parameters=n_parameters, macs=macs)


def _is_weighted(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> bool:
    return node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in tensors


def _n_channels(node: onnx.NodeProto, dims: Sequence[int]) -> int:
    """Output channels of a weight: along its first axis for Conv, and for Gemm with transB."""
    is_first = node.op_type == "Conv" or any(item.name == "transB" and item.i for item in node.attribute)
    return int(dims[0] if is_first else dims[-1] if node.op_type != "ConvTranspose" else dims[1])
