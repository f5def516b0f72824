"""Cross-layer equalization: move scale between two layers so that both use their integers alike.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, section 4.1.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.records import Skip

MAX_SWEEPS: Final = 20
CONVERGED: Final = 1e-3
"""Sweeps end when no channel is scaled by more than this share; chains of depthwise layers need several."""

_RELU_FUNCTIONS: Final[frozenset[Any]] = frozenset({F.relu, torch.relu})
_CLIPPING: Final = "ReLU6 clips at 6 whatever the scale: its channels cannot be scaled without changing the network"


@dataclass(frozen=True)
class _Pair:
    first: nn.Conv2d | nn.Linear
    second: nn.Conv2d | nn.Linear


def equalize_(graph_module: fx.GraphModule) -> tuple[Skip, ...]:
    """Scale the channels between every two layers with at most a ReLU between them, in place; the outputs stay.

    Returns layers whose ReLU6 forbids it. Raises PassRefused ``nothing_to_equalize`` where no two layers are alone together.
    """
    pairs, skipped = _find_pairs(graph_module)
    if not pairs:
        raise PassRefused(
            "No two layers of the network follow each other with only a ReLU between them: leave equalize out.",
            code="nothing_to_equalize",
            detail={"skipped": [skip.layer for skip in skipped]},
        )
    with torch.no_grad():
        for _ in range(MAX_SWEEPS):
            if max(_equalize_pair_(pair) for pair in pairs) < CONVERGED:
                break
    return skipped


def _equalize_pair_(pair: _Pair) -> float:
    """Give both layers the same range per channel; return the largest relative change."""
    out_range, in_range = _out_ranges(pair.first.weight), _in_ranges(pair.second)
    is_used = (out_range > 0) & (in_range > 0)
    scale = torch.where(is_used, torch.sqrt(out_range * in_range) / in_range, torch.ones_like(in_range))  # equation 11
    pair.first.weight.div_(_along(scale, pair.first.weight, 0))
    if pair.first.bias is not None:
        pair.first.bias.div_(scale)
    pair.second.weight.mul_(_along(scale, pair.second.weight, 0 if _is_depthwise(pair.second) else 1))
    return float((scale - 1.0).abs().max())


def _out_ranges(weight: Tensor) -> Tensor:
    return weight.flatten(1).abs().amax(dim=1)


def _in_ranges(layer: nn.Conv2d | nn.Linear) -> Tensor:
    return _out_ranges(layer.weight if _is_depthwise(layer) else layer.weight.transpose(0, 1))


def _along(scale: Tensor, weight: Tensor, axis: int) -> Tensor:
    return scale.view([-1 if index == axis else 1 for index in range(weight.dim())])


def _is_depthwise(layer: nn.Conv2d | nn.Linear) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def _find_pairs(graph_module: fx.GraphModule) -> tuple[list[_Pair], tuple[Skip, ...]]:
    modules = dict(graph_module.named_modules())
    pairs: list[_Pair] = []
    skipped: list[Skip] = []
    for node in graph_module.graph.nodes:
        first = _layer(node, modules)
        if first is None or len(node.users) != 1:
            continue
        follower = next(iter(node.users))
        if _is_relu6(follower, modules):
            skipped.append(Skip(layer=str(node.target), reason=_CLIPPING))
            continue
        if _is_relu(follower, modules):
            if len(follower.users) != 1:
                continue
            follower = next(iter(follower.users))
        second = _layer(follower, modules)
        if second is not None and type(first) is type(second) and _takes_whole_channels(second):
            pairs.append(_Pair(first, second))
    return pairs, tuple(skipped)


def _takes_whole_channels(layer: nn.Conv2d | nn.Linear) -> bool:
    return isinstance(layer, nn.Linear) or layer.groups == 1 or _is_depthwise(layer)


def _layer(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Conv2d | nn.Linear | None:
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, nn.Conv2d | nn.Linear) else None


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    is_module = node.op == "call_module" and type(modules[str(node.target)]) is nn.ReLU
    return is_module or (node.op == "call_function" and node.target in _RELU_FUNCTIONS)


def _is_relu6(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    is_module = node.op == "call_module" and isinstance(modules[str(node.target)], nn.ReLU6)
    return is_module or (node.op == "call_function" and node.target is F.relu6)
