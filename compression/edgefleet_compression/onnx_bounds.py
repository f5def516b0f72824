"""Bounds that no model for a small board comes near, and that a file made to harm goes beyond.

Checked before anything else walks the graph, so that the walks end; the child process has limits of its own besides.
"""

from collections.abc import Iterator
from typing import Final

import onnx

from edgefleet_compression.errors import ModelFileInvalid

MAX_NODES: Final = 100_000
"""Of all graphs together. The largest network of ONNX's model zoo has some thousands."""

MAX_DEPTH: Final = 8
"""Graphs within graphs (bodies of If, Loop and Scan)."""

MAX_ELEMENTS: Final = 2**31 - 1
"""Of one tensor, and of a dimension: what 32-bit boards count to."""

MAX_RANK: Final = 16
MAX_TEXT_BYTES: Final = 1024**2
"""Of one string attribute."""


def refuse_excess(model: onnx.ModelProto, name: str) -> None:
    """Raise ModelFileInvalid(model_excessive) where the file goes beyond a bound."""
    _Bounds(name).check(model)


class _Bounds:
    def __init__(self, name: str) -> None:
        self._name, self._n_nodes = name, 0

    def check(self, model: onnx.ModelProto) -> None:
        self._graph(model.graph, 1)
        for function in model.functions:
            self._nodes(function.node, 1)

    def _graph(self, graph: onnx.GraphProto, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._refuse(f"nests graphs more than {MAX_DEPTH} deep")
        for value in (*graph.input, *graph.output, *graph.value_info):
            shape = value.type.tensor_type.shape
            self._shape([dim.dim_value for dim in shape.dim], f"value {value.name[:100]!r}", free=True)
        for tensor in _tensors(graph):
            self._shape(list(tensor.dims), f"tensor {tensor.name[:100]!r}", free=False)
        self._nodes(graph.node, depth)

    def _nodes(self, nodes: "onnx.GraphProto | list[onnx.NodeProto]", depth: int) -> None:
        self._n_nodes += len(nodes)
        if self._n_nodes > MAX_NODES:
            self._refuse(f"has more than {MAX_NODES} operators")
        for node in nodes:
            for attribute in node.attribute:
                self._attribute(attribute, depth)

    def _attribute(self, attribute: onnx.AttributeProto, depth: int) -> None:
        if max(map(len, (attribute.s, *attribute.strings)), default=0) > MAX_TEXT_BYTES:
            self._refuse(f"has a text of more than {MAX_TEXT_BYTES} bytes in attribute {attribute.name[:100]!r}")
        for tensor in (attribute.t, *attribute.tensors):
            self._shape(list(tensor.dims), f"attribute {attribute.name[:100]!r}", free=False)
        for graph in (attribute.g, *attribute.graphs):
            if graph.node or graph.initializer:
                self._graph(graph, depth + 1)

    def _shape(self, dims: list[int], what: str, *, free: bool) -> None:
        elements = 1
        for dim in dims:
            elements *= max(dim, 1) if free else dim
            if dim < 0 or elements > MAX_ELEMENTS:
                self._refuse(f"gives {what} the shape {dims[:MAX_RANK]}, which no board can hold")
        if len(dims) > MAX_RANK:
            self._refuse(f"gives {what} {len(dims)} dimensions")

    def _refuse(self, what: str) -> None:
        raise ModelFileInvalid(f"{self._name} {what}: it is no model for a board.", code="model_excessive")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
