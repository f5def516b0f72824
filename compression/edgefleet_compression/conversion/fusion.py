"""Join what exporters take apart: sums and products after a linear layer, and GELU written out. Torch-free."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from numpy.typing import NDArray

from edgefleet_compression.models.specs.onnx_graph import GraphNode

Array = NDArray[Any]
_ROOT_TWO: Final = math.sqrt(2.0)
_TOLERANCE: Final = 1e-4


class Fusion:
    """Nodes and tensors of a graph, edited in place until nothing more can be joined."""

    def __init__(self, nodes: Sequence[GraphNode], tensors: Mapping[str, Array], output: str) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.tensors = dict(tensors)
        self.output = output

    def run(self) -> None:
        """Join linear layers with the constants after them, then GELUs; drop what nobody uses."""
        for name in list(self.nodes):
            if name in self.nodes:
                self._join_linear(self.nodes[name])
        for name in list(self.nodes):
            if name in self.nodes and self.nodes[name].op == "erf":
                self._join_gelu(self.nodes[name])
        self._drop_unused()

    def _users(self, name: str) -> list[GraphNode]:
        return [node for node in self.nodes.values() if name in node.inputs]

    def _replace(self, old: str, new: str) -> None:
        for node in self._users(old):
            inputs = tuple(new if item == old else item for item in node.inputs)
            self.nodes[node.name] = node.model_copy(update={"inputs": inputs})
        if self.output == old:
            self.output = new

    def _join_linear(self, node: GraphNode) -> None:
        """A linear layer with one user that adds or multiplies one number per channel takes it over."""
        if node.op not in ("add", "mul") or len(node.inputs) != 2:
            return
        for source, other in (node.inputs, node.inputs[::-1]):
            linear, constant = self.nodes.get(str(source)), self.nodes.get(str(other))
            if (
                linear is None
                or linear.op != "linear"
                or self.output == linear.name
                or len(self._users(linear.name)) != 1
            ):
                continue
            n_out = linear.settings["out_features"]
            value = self.tensors.get(f"{other}.value")
            if constant is None or value is None or value.shape[-1:] != (n_out,) or value.size != n_out:
                continue
            self._absorb(linear, value.ravel(), is_sum=node.op == "add")
            self._replace(node.name, linear.name)
            del self.nodes[node.name]
            return

    def _absorb(self, linear: GraphNode, value: Array, *, is_sum: bool) -> None:
        weight, bias = self.tensors[f"{linear.name}.weight"], self.tensors.get(f"{linear.name}.bias")
        if is_sum:
            self.tensors[f"{linear.name}.bias"] = value if bias is None else bias + value
            self.nodes[linear.name] = linear.model_copy(update={"settings": {**linear.settings, "bias": 1}})
            return
        self.tensors[f"{linear.name}.weight"] = weight * value[:, None]
        if bias is not None:
            self.tensors[f"{linear.name}.bias"] = bias * value

    def _join_gelu(self, erf: GraphNode) -> None:
        """Find x * 0.5 * (1 + erf(x / sqrt 2)), its three factors in any order (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
        scaled = self.nodes.get(str(erf.inputs[0]))
        if scaled is None or scaled.op not in ("div", "mul") or not isinstance(scaled.inputs[1], int | float):
            return
        wanted = _ROOT_TWO if scaled.op == "div" else 1 / _ROOT_TWO
        if abs(scaled.inputs[1] - wanted) > _TOLERANCE:
            return
        x = scaled.inputs[0]
        one = self._only_user(erf, "add", lambda other: other in (1, 1.0))
        first = one and self._only_user(one, "mul", lambda other: other in (x, 0.5) or self._is_half(other, x))
        if one is None or first is None:
            return
        other = next(item for item in first.inputs if item != one.name)
        last = first
        if not self._is_half(other, x):
            second = self._only_user(first, "mul", lambda item: item == (0.5 if other == x else x))
            if second is None:
                return
            last = second
        self.nodes[last.name] = GraphNode.model_validate({"name": last.name, "op": "gelu", "inputs": (x,)})

    def _is_half(self, item: object, x: object) -> bool:
        node = self.nodes.get(str(item))
        return node is not None and node.op == "mul" and x in node.inputs and 0.5 in node.inputs

    def _only_user(self, node: GraphNode, op: str, accepts: Callable[[object], bool]) -> GraphNode | None:
        users = self._users(node.name)
        if len(users) != 1 or users[0].op != op or self.output == node.name:
            return None
        others = [item for item in users[0].inputs if item != node.name]
        return users[0] if len(others) == 1 and accepts(others[0]) else None

    def _drop_unused(self) -> None:
        used = {self.output}
        for node in reversed(list(self.nodes.values())):
            if node.name in used:
                used |= {item for item in node.inputs if isinstance(item, str)}
            else:
                del self.nodes[node.name]
        kept = self.nodes.keys()
        self.tensors = {key: array for key, array in self.tensors.items() if key.rpartition(".")[0] in kept}
