"""Edit the torch.fx graph of a network: fold BatchNorm, then put fake-quant where a runtime stores integers."""

import copy
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.layers import replace_module_
from edgefleet_compression.passes.specs import ActivationFormat, WeightFormat
from edgefleet_compression.quantization.activations import ActivationFakeQuant
from edgefleet_compression.quantization.modules import (
    QuantizedConv2d,
    QuantizedLayer,
    QuantizedLinear,
    plain_layer,
    quantize_layer,
)
from edgefleet_compression.records import Skip
from edgefleet_compression.structure import LayerBits

_RELU_MODULES: Final = (nn.ReLU, nn.ReLU6)
_RELU_FUNCTIONS: Final[frozenset[Any]] = frozenset({F.relu, torch.relu, F.relu6})
_ADD_FUNCTIONS: Final[frozenset[Any]] = frozenset({operator.add, operator.iadd, torch.add})
_POOL_MODULES: Final = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)
_STORING_MODULES: Final = (
    nn.Conv2d,
    nn.Linear,
    nn.LayerNorm,
    nn.GELU,
    nn.Softmax,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    *_RELU_MODULES,
    *_POOL_MODULES,
)
_STORING_FUNCTIONS: Final[frozenset[Any]] = _RELU_FUNCTIONS | _ADD_FUNCTIONS | {torch.matmul}
_PRODUCTS: Final[frozenset[Any]] = frozenset({operator.mul, torch.mul})
"""Of two tensors they are stored; a product with a number is not."""
_CARRYING_MODULES: Final = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d, nn.Flatten, nn.Dropout)
_CARRYING_FUNCTIONS: Final[frozenset[Any]] = frozenset({torch.flatten, F.max_pool2d, operator.getitem})
_CARRYING_METHODS: Final = frozenset({"view", "reshape", "transpose", "permute", "flatten", "squeeze", "contiguous"})
"""They move numbers and change none."""


def fold_batchnorm(model: nn.Module) -> fx.GraphModule:
    """Return a copy of the network as a graph in eval mode with every BatchNorm folded into its convolution.

    Raises PassRefused (``not_traceable``, ``batchnorm_not_foldable``) for networks whose graph cannot be edited.
    """
    try:
        graph_module = fx.symbolic_trace(copy.deepcopy(model).eval())
    except (fx.proxy.TraceError, TypeError) as error:
        raise PassRefused(
            f"The network has control flow that torch.fx cannot trace: {error}", code="not_traceable"
        ) from error
    modules = dict(graph_module.named_modules())
    for node in list(graph_module.graph.nodes):
        if _is_module(node, modules, (nn.Identity,)):
            _bypass(graph_module, node)
        elif _is_module(node, modules, (nn.BatchNorm2d,)):
            _fold(graph_module, node, modules)
    graph_module.graph.lint()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return graph_module


def insert_fake_quant_(
    graph_module: fx.GraphModule,
    weights: WeightFormat,
    activations: ActivationFormat | None,
    layer_bits: Mapping[str, LayerBits] = MappingProxyType({}),
) -> tuple[Skip, ...]:
    """Make a folded graph a quantized one, in place; return what stays in float and why. Without activations: weights only.

    layer_bits: layers whose bits are not the format's; hybrid ones start with the format's bits in every channel. Points are named ``fq_<node>``. The result depends on the graph alone, so a saved candidate is rebuilt the same way.
    """
    modules = dict(graph_module.named_modules())
    skipped = () if activations is None else _insert_points(graph_module, activations, modules)
    for name, module in modules.items():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            replace_module_(graph_module, name, _quantized_layer(module, weights, layer_bits.get(name)))
    graph_module.graph.lint()
    graph_module.recompile()
    return skipped


def _quantized_layer(module: nn.Conv2d | nn.Linear, weights: WeightFormat, bits: LayerBits | None) -> QuantizedLayer:
    if bits == "hybrid":
        channel_bits = torch.full((len(module.weight),), weights.bits, dtype=torch.int8, device=module.weight.device)
        return quantize_layer(module, weights, channel_bits)
    return quantize_layer(module, weights if bits is None else weights.model_copy(update={"bits": bits}))


def _insert_points(
    graph_module: fx.GraphModule, activations: ActivationFormat, modules: dict[str, nn.Module]
) -> tuple[Skip, ...]:
    point_of: dict[fx.Node, str] = {}
    skipped: list[Skip] = []
    for node in list(graph_module.graph.nodes):
        if node.op in ("output", "get_attr") or _feeds_only_relu(node, modules) or _is_token_input(node, modules):
            continue
        name = _point_name(node, modules, point_of)
        if name is None:
            skipped.append(Skip(layer=node.name, reason="operator stays in float: no integer kernel is known for it"))
            continue
        _insert_point(graph_module, node, name, activations, point_of)
    return tuple(skipped)


def strip_fake_quant(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a quantized graph without its fake-quant: plain layers, their weights and biases as they are."""
    plain = strip_weight_rounding(graph_module)
    modules = dict(plain.named_modules())
    for node in list(plain.graph.nodes):
        if _is_module(node, modules, (ActivationFakeQuant,)):
            _bypass(plain, node)
    plain.graph.lint()
    plain.delete_all_unused_submodules()
    plain.recompile()
    return plain


def strip_weight_rounding(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a quantized graph with plain layers, their weights as they are; activations are still rounded."""
    plain = copy.deepcopy(graph_module)
    for name, module in dict(plain.named_modules()).items():
        if isinstance(module, (QuantizedConv2d, QuantizedLinear)):
            replace_module_(plain, name, plain_layer(module))
    plain.recompile()
    return plain


def list_points(model: nn.Module) -> dict[str, ActivationFakeQuant]:
    """Return name -> fake-quant module of every activation point, in graph order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ActivationFakeQuant)}


def snap_biases_(graph_module: fx.GraphModule) -> None:
    """Round every bias, in place, to a multiple of input scale times weight scale, as an integer runtime stores it.

    Without this the exported int32 biases move about one activation in a hundred by a step, and a tenth of the logits.
    """
    modules = dict(graph_module.named_modules())
    for node in graph_module.graph.nodes:
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(layer, (QuantizedConv2d, QuantizedLinear)) or layer.bias is None:
            continue
        source = node.args[0]
        point = modules.get(str(source.target)) if isinstance(source, fx.Node) else None
        if isinstance(point, ActivationFakeQuant):
            step = (point.scale * layer.weight_scale).double()
            with torch.no_grad():
                layer.bias.copy_(torch.round(layer.bias.double() / step) * step)


def _point_name(node: fx.Node, modules: dict[str, nn.Module], point_of: dict[fx.Node, str]) -> str | None:
    """Return the name of the point that follows this node; None where the value stays float."""
    is_method = node.op == "call_method" and node.target in _CARRYING_METHODS
    if is_method or _is_module(node, modules, _CARRYING_MODULES) or _is_function(node, _CARRYING_FUNCTIONS):
        source = node.args[0]
        return point_of.get(source) if isinstance(source, fx.Node) else None
    stores = (
        node.op == "placeholder"
        or _is_module(node, modules, _STORING_MODULES)
        or _is_function(node, _STORING_FUNCTIONS)
        or (_is_function(node, _PRODUCTS) and len(node.all_input_nodes) == 2)
    )
    return f"fq_{node.name}" if stores else None


def _feeds_only_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """True if the value is not stored: the runtime computes the operator and its ReLU in one kernel."""
    users = list(node.users)
    return len(users) == 1 and (_is_module(users[0], modules, _RELU_MODULES) or _is_function(users[0], _RELU_FUNCTIONS))


def _is_token_input(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """True for an input of token ids, which are integers already."""
    return node.op == "placeholder" and any(_is_module(user, modules, (nn.Embedding,)) for user in node.users)


def _insert_point(
    graph_module: fx.GraphModule,
    node: fx.Node,
    name: str,
    activations: ActivationFormat,
    point_of: dict[fx.Node, str],
) -> None:
    if not hasattr(graph_module, name):
        device = next(graph_module.parameters()).device
        graph_module.add_submodule(name, ActivationFakeQuant(activations, device=device))
    with graph_module.graph.inserting_after(node):
        point = graph_module.graph.call_module(name, (node,))
    keep: Callable[[fx.Node], bool] = lambda user: user is not point  # noqa: E731 - fx asks for a callback
    node.replace_all_uses_with(point, delete_user_cb=keep)
    point_of[point] = name


def _fold(graph_module: fx.GraphModule, node: fx.Node, modules: dict[str, nn.Module]) -> None:
    source = node.args[0]
    if not (isinstance(source, fx.Node) and _is_module(source, modules, (nn.Conv2d,)) and len(source.users) == 1):
        raise PassRefused(
            f"BatchNorm {node.target} does not follow a convolution of its own: it cannot be folded.",
            code="batchnorm_not_foldable",
        )
    conv, norm = modules[str(source.target)], modules[str(node.target)]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    replace_module_(graph_module, str(source.target), fuse_conv_bn_eval(conv, norm))
    _bypass(graph_module, node)


def _bypass(graph_module: fx.GraphModule, node: fx.Node) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    node.replace_all_uses_with(source)
    graph_module.graph.erase_node(node)


def _is_module(node: fx.Node, modules: dict[str, nn.Module], types: tuple[type[nn.Module], ...]) -> bool:
    return node.op == "call_module" and isinstance(modules[str(node.target)], types)


def _is_function(node: fx.Node, functions: frozenset[Any]) -> bool:
    return node.op == "call_function" and node.target in functions
