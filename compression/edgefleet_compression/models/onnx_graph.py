"""The network of a converted ONNX graph: plain layers of torch, called in the recorded order. torch.fx can trace it."""

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from edgefleet_compression.errors import ModelFileInvalid, PassRefused
from edgefleet_compression.models.specs.onnx_graph import INPUT, GraphNode, OnnxGraphArguments


class Constant(nn.Module):
    """A trainable tensor that is an operand of its own, for example a table of positions."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        """Return the tensor."""
        return self.value


class Literal(nn.Module):
    """A fixed tensor of whole numbers or truth values; part of the structure, not of the weights."""

    def __init__(self, values: tuple[Any, ...], shape: tuple[int, ...], kind: str) -> None:
        super().__init__()
        self._values, self._shape, self._dtype = values, shape, {"int64": torch.int64, "bool": torch.bool}[kind]

    def forward(self) -> Tensor:
        """Return the tensor."""
        return torch.tensor(self._values, dtype=self._dtype).reshape(self._shape)


def require_known_initial_values(model: nn.Module) -> None:
    """Raise PassRefused ``initial_weights_unknown`` where nothing says how a tensor of the network was first drawn."""
    if any(isinstance(module, Constant) for module in model.modules()):
        raise PassRefused(
            "The ONNX graph has constants whose initial values are unknown, so the network cannot be drawn anew: use "
            "prune_weights or structured_prune instead of lottery_ticket.",
            code="initial_weights_unknown",
        )


class OnnxGraph(nn.Module):
    """Nodes of ``OnnxGraphArguments``; every layer is a child under its node's name."""

    def __init__(self, arguments: OnnxGraphArguments) -> None:
        super().__init__()
        self._nodes = arguments.nodes
        self._output = arguments.output
        self._dead = _last_uses(arguments)
        for node in arguments.nodes:
            if node.op in _LAYERS:
                self.add_module(node.name, _LAYERS[node.op](**node.settings))

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (n, ...) to scores (n, n_classes)."""
        values: dict[str, Any] = {INPUT: x}
        for node, dead in zip(self._nodes, self._dead, strict=True):
            operands = [values[item] if isinstance(item, str) else item for item in node.inputs]
            if node.op in _LAYERS:
                values[node.name] = self.get_submodule(node.name)(*operands)
            else:
                values[node.name] = _FUNCTIONS[node.op](*operands, **node.settings)
            for name in dead:
                del values[name]
        return values[self._output]  # type: ignore[no-any-return]

    def pinned_layers(self) -> frozenset[str]:
        """Return the layers whose output channels must stay: something downstream counts on their number.

        Convolutions and linear layers are followed through what treats all channels alike; a reshape to fixed sizes, a
        product of two activations, a constant per channel and the network's output pin them.
        """
        makers: dict[str, frozenset[str]] = {INPUT: frozenset()}
        pinned: set[str] = set()
        for node in self._nodes:
            sources = frozenset().union(*(makers[item] for item in node.inputs if isinstance(item, str)))
            if node.op in ("conv2d", "linear"):
                # a depthwise convolution keeps the channels of its source, which are told apart by nothing but their number
                grouped = node.op == "conv2d" and node.settings.get("groups", 1) != 1
                makers[node.name] = frozenset({node.name}) | (sources if grouped else frozenset())
            elif node.op in _ALIKE and node.settings.get("dim", 1) == 1 and not self._takes_constant(node):
                makers[node.name] = sources
            else:
                pinned |= sources
                makers[node.name] = frozenset()
        return frozenset(pinned | makers[self._output])

    def _takes_constant(self, node: GraphNode) -> bool:
        return any(isinstance(self._modules.get(str(item)), Constant | Literal) for item in node.inputs)


def _last_uses(arguments: OnnxGraphArguments) -> tuple[tuple[str, ...], ...]:
    """Return, per node, the values that no later node takes: they need no memory after it."""
    seen = {arguments.output}
    dead: list[tuple[str, ...]] = []
    for node in reversed(arguments.nodes):
        names = dict.fromkeys(item for item in node.inputs if isinstance(item, str) and item not in seen)
        seen |= set(names)
        dead.append(tuple(names))
    return tuple(reversed(dead))


def build(arguments: OnnxGraphArguments) -> OnnxGraph:
    """Return the network with torch's initial weights; ModelFileInvalid ``structure_invalid`` for settings no layer takes."""
    try:
        return OnnxGraph(arguments)
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ModelFileInvalid(
            f"The converted graph has a layer with settings that cannot be built: {error}.", code="structure_invalid"
        ) from error


def _max_pool(*, ceil_mode: int, **settings: Any) -> nn.MaxPool2d:
    return nn.MaxPool2d(ceil_mode=bool(ceil_mode), **settings)


def _average_pool(*, ceil_mode: int, count_include_pad: int, **settings: Any) -> nn.AvgPool2d:
    return nn.AvgPool2d(ceil_mode=bool(ceil_mode), count_include_pad=bool(count_include_pad), **settings)


def _slice(x: Tensor, dim: int, start: int, stop: int, step: int) -> Tensor:
    place: Any = (*(slice(None),) * dim, slice(start, stop, step))
    return x[place]


def _select(x: Tensor, dim: int, index: int) -> Tensor:
    place: Any = (*(slice(None),) * dim, index)
    return x[place]


_LAYERS: Final[Mapping[str, Callable[..., nn.Module]]] = MappingProxyType(
    {
        "conv2d": nn.Conv2d,
        "linear": nn.Linear,
        "batchnorm2d": nn.BatchNorm2d,
        "layernorm": nn.LayerNorm,
        "embedding": nn.Embedding,
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "hardtanh": nn.Hardtanh,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "hardsigmoid": nn.Hardsigmoid,
        "hardswish": nn.Hardswish,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "softplus": nn.Softplus,
        "softmax": nn.Softmax,
        "maxpool2d": _max_pool,
        "avgpool2d": _average_pool,
        "global_avgpool2d": lambda: nn.AdaptiveAvgPool2d(1),
        "global_maxpool2d": lambda: nn.AdaptiveMaxPool2d(1),
        "zeropad2d": nn.ZeroPad2d,
        "flatten": nn.Flatten,
        "constant": Constant,
        "literal": Literal,
    }
)

_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "div": operator.truediv,
        "pow": operator.pow,
        "matmul": torch.matmul,
        "concat": lambda *parts, dim: torch.cat(parts, dim=dim),
        "reshape": lambda x, shape: x.reshape(shape),
        "permute": lambda x, dims: x.permute(dims),
        "squeeze": lambda x, dims: x.squeeze(dims),
        "unsqueeze": lambda x, dim: x.unsqueeze(dim),
        "slice": _slice,
        "select": _select,
        "index_select": lambda x, indices, dim: torch.index_select(x, dim, indices),
        "mean": lambda x, dims, keepdim: x.mean(dim=dims, keepdim=bool(keepdim)),
        "sum": lambda x, dims, keepdim: x.sum(dim=dims, keepdim=bool(keepdim)),
        "amax": lambda x, dims, keepdim: x.amax(dim=dims, keepdim=bool(keepdim)),
        "sqrt": torch.sqrt,
        "exp": torch.exp,
        "log": torch.log,
        "neg": torch.neg,
        "abs": torch.abs,
        "erf": torch.erf,
        "equal": lambda x, other: x == other,
        "logical_not": torch.logical_not,
        "where": torch.where,
        "to_float": lambda x: x.to(torch.float32),
        "to_bool": lambda x: x.to(torch.bool),
        "to_int64": lambda x: x.to(torch.int64),
    }
)

_ALIKE: Final = frozenset(
    {
        *(
            "batchnorm2d",
            "relu",
            "relu6",
            "hardtanh",
            "leaky_relu",
            "elu",
            "sigmoid",
            "tanh",
            "hardsigmoid",
            "hardswish",
        ),
        *("silu", "gelu", "softplus", "maxpool2d", "avgpool2d", "global_avgpool2d", "global_maxpool2d", "zeropad2d"),
        *("flatten", "add", "sub", "mul", "div", "concat"),
    }
)
"""Operators that treat all channels alike, and that Torch-Pruning follows."""
