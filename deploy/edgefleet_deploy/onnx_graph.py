"""Reading and editing an ONNX graph: constants, producers, consumers. The editing functions change the graph given."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

Array = NDArray[Any]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs inside a control-flow node (If, Loop, Scan)."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def has_subgraphs(model: ModelProto) -> bool:
    """Return whether any node holds a graph of its own; such a graph may refer to outer names."""
    return any(True for node in model.graph.node for _ in subgraphs(node))


def _captured(node: NodeProto) -> Iterator[str]:
    for graph in subgraphs(node):
        yield from (output.name for output in graph.output)
        for inner in graph.node:
            yield from inner.input
            yield from _captured(inner)


def used_names(node: NodeProto) -> list[str]:
    """Return the names a node reads, those inside its subgraphs included."""
    return [name for name in (*node.input, *_captured(node)) if name]


class GraphView:
    """Who makes and who reads each tensor of a graph. Valid until the graph is changed: build a new one then."""

    def __init__(self, graph: GraphProto) -> None:
        self.initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.producers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output if name}
        self.consumers: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in used_names(node):
                self.consumers[name].append(node)
        self.outputs = {value.name for value in graph.output}

    def constant(self, name: str) -> Array | None:
        """Return the value of an initializer as an array, or None when the name is not one."""
        tensor = self.initializers.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def producer(self, name: str, op_type: str) -> NodeProto | None:
        """Return the node that makes this tensor when it is of this type."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == op_type and node.domain in ("", "ai.onnx") else None

    def only_consumer(self, name: str, op_type: str) -> NodeProto | None:
        """Return the one node that reads this tensor when it is of this type and nothing else sees the tensor."""
        readers = self.consumers[name]
        if len(readers) != 1 or name in self.outputs or readers[0].op_type != op_type:
            return None
        return readers[0]

    def fresh_name(self, base: str) -> str:
        """Return a name derived from ``base`` that no tensor of the graph has."""
        name, number = base, 0
        while name in self.initializers or name in self.producers or name in self.consumers:
            number += 1
            name = f"{base}_{number}"
        return name


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return the value of an attribute, or the default where the node does not carry it."""
    for item in node.attribute:
        if item.name == name:
            return _attribute_value(item)
    return default


def _attribute_value(item: AttributeProto) -> Any:
    values: dict[int, Any] = {
        AttributeProto.INT: item.i,
        AttributeProto.FLOAT: item.f,
        AttributeProto.STRING: item.s,
        AttributeProto.INTS: list(item.ints),
        AttributeProto.FLOATS: list(item.floats),
        AttributeProto.STRINGS: list(item.strings),
        AttributeProto.TENSOR: item.t,
    }
    return values.get(item.type)


def add_initializer(graph: GraphProto, name: str, value: Array) -> str:
    """Append a constant under this name and return the name."""
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
    return name


def remove_nodes(graph: GraphProto, doomed: Iterable[NodeProto]) -> None:
    """Remove these very nodes, by identity; the others keep their order and stay the same objects."""
    doomed_nodes = list(doomed)
    identities = {id(node) for node in doomed_nodes}
    for index in range(len(graph.node) - 1, -1, -1):
        if id(graph.node[index]) in identities:
            del graph.node[index]


def insert_before(graph: GraphProto, reader: NodeProto, node: NodeProto) -> None:
    """Insert a node in front of the one that reads its output."""
    position = next(index for index, item in enumerate(graph.node) if item is reader)
    graph.node.insert(position, node)


def rename_uses(graph: GraphProto, old: str, new: str) -> None:
    """Make every reader of ``old`` read ``new``; names inside subgraphs are left alone."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def drop_unused(graph: GraphProto) -> int:
    """Remove nodes and initializers that nothing reads; return how many nodes went."""
    needed = {value.name for value in graph.output}
    n_removed = 0
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        if any(name in needed for name in node.output):
            needed.update(used_names(node))
        else:
            del graph.node[index]
            n_removed += 1
    for index in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[index].name not in needed:
            del graph.initializer[index]
    return n_removed
