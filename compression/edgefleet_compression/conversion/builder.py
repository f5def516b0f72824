"""Collects the nodes and weights of a graph under conversion. Torch-free."""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgefleet_compression.conversion.folding import BATCHES, FoldedGraph, Shape
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.models.specs.onnx_graph import INPUT, MAX_NUMBERS, GraphNode

Array = NDArray[Any]
Operand = str | int | float
BATCH: Final = -1
"""Stands for the batch, or a multiple of it, in a shape."""


def refused(message: str) -> PassRefused:
    """Return the error of an operator that has no counterpart among torch's plain layers."""
    return PassRefused(message, code="not_convertible")


class GraphBuilder:
    """The growing graph: where each ONNX value is, its shape, and the tensors of the layers so far."""

    def __init__(self, folded: FoldedGraph) -> None:
        self._folded = folded
        self.opset = folded.opset
        self.nodes: list[GraphNode] = []
        self.tensors: dict[str, Array] = {}
        self._places: dict[str, Operand] = {folded.input.name: INPUT}

    def is_constant(self, name: str) -> bool:
        """Return True for a weight or another value that is the same for every input."""
        return name in self._folded.constants

    def constant(self, name: str, what: str) -> Array:
        """Return a value that must be constant."""
        if name not in self._folded.constants:
            raise refused(f"its {what} is computed by the graph")
        return self._folded.constants[name]

    def shape(self, name: str) -> Shape:
        """Return the shape of a value, ``BATCH`` where it grows with the batch."""
        first, second = (shapes.get(name) for shapes in self._folded.shapes)
        if first is None or second is None or len(first) != len(second):
            raise refused(f"the shape of {name!r} is not known before it runs")
        for a, b in zip(first, second, strict=True):
            if a != b and a * BATCHES[1] != b * BATCHES[0]:
                raise refused(f"the shape of {name!r} depends on the batch in more than size")
        return tuple(a if a == b else BATCH for a, b in zip(first, second, strict=True))

    def grows_as_batch(self, name: str) -> bool:
        """Return True if the first dimension is the batch itself."""
        return all(shapes[name][:1] == (batch,) for shapes, batch in zip(self._folded.shapes, BATCHES, strict=True))

    def settle(self, name: str, place: Operand) -> None:
        """Say which node (or number) an ONNX value is."""
        self._places[name] = place

    def operand(self, name: str) -> Operand:
        """Return where a value is; constants become numbers or nodes of their own."""
        if name not in self._places:
            if name not in self._folded.constants:
                raise refused(f"its input {name!r} is computed by something that cannot be converted")
            self._places[name] = self._embedded(name, self._folded.constants[name])
        return self._places[name]

    def computed(self, name: str) -> str:
        """Return the node of a value that must not be a plain number."""
        place = self.operand(name)
        if not isinstance(place, str):
            raise refused(f"its input {name!r} is a constant number")
        return place

    def emit(
        self,
        op: str,
        inputs: tuple[Operand, ...],
        settings: Mapping[str, Any] | None = None,
        *,
        hint: str = "",
        **weights: Array,
    ) -> str:
        """Add a node, with its layer's weights by parameter name; return its name."""
        stem = re.sub(r"[^A-Za-z0-9]+", "_", hint.removesuffix("weight")).strip("_")[-64:]
        name = f"{stem if stem[:1].isalpha() else op}_{len(self.nodes)}"
        self.nodes.append(
            GraphNode.model_validate({"name": name, "op": op, "inputs": inputs, "settings": dict(settings or {})})
        )
        for key, array in weights.items():
            self.tensors[f"{name}.{key}"] = array
        return name

    def _embedded(self, name: str, array: Array) -> Operand:
        if array.dtype.kind == "f":
            finite = np.nan_to_num(array.astype(np.float32))  # masks of minus infinity: the lowest number does the same
            if (finite.size == 1 and finite.ndim == 0) or (finite.size == 1 and max(finite.shape) == 1):
                return float(finite.ravel()[0])
            return self.emit("constant", (), {"shape": finite.shape}, hint=name, value=finite)
        if array.size == 1:
            return int(array.ravel()[0])
        if array.size > MAX_NUMBERS:
            raise refused(f"its constant {name!r} has more than {MAX_NUMBERS} whole numbers")
        kind = "bool" if array.dtype == bool else "int64"
        settings = {"values": [int(value) for value in array.ravel()], "shape": array.shape, "kind": kind}
        return self.emit("literal", (), settings, hint=name)
