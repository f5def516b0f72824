"""How much a channel's activations do, on samples of the training split. Labels are not needed."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgefleet_compression.criteria.gradients import at_rest, unlabelled_samples
from edgefleet_compression.criteria.scene import Scene
from edgefleet_compression.errors import PassRefused

_FOLLOWED: Final = (nn.BatchNorm2d, nn.LayerNorm, nn.Identity, nn.Dropout)
"""Modules between a layer and its nonlinearity."""


def apoz(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return 1 - APoZ of the channel, spread evenly over its weights (Hu et al. 2016, arXiv:1607.03250, equation 1).

    APoZ is the average percentage of zeros after the nonlinearity that follows the layer. A layer without a ReLU behind it
    has hardly any zeros, so all its channels score close to 1.
    """
    return _channel_scores(weights, scene, lambda values: (values != 0).double(), criterion="apoz")


def mean_activation(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return the channel's mean |activation|, spread evenly over its weights (Molchanov et al. 2017, arXiv:1611.06440)."""
    return _channel_scores(weights, scene, lambda values: values.abs().double(), criterion="mean_activation")


def _channel_scores(
    weights: Mapping[str, Tensor], scene: Scene, measure: Callable[[Tensor], Tensor], *, criterion: str
) -> dict[str, Tensor]:
    x = unlabelled_samples(scene, criterion=criterion)
    with at_rest(scene.model), torch.no_grad():
        reader = _Reader(scene.model, weights, measure)
        for batch in torch.split(x, 64):
            reader.run(batch)
    return {name: _spread(reader.mean_of(name), weight) for name, weight in weights.items()}


def _spread(per_channel: Tensor, weight: Tensor) -> Tensor:
    """Return the weight's shape filled so that every channel's sum is its score."""
    n_per_channel = weight[0].numel()
    shape = (-1, *([1] * (weight.dim() - 1)))
    return (per_channel / n_per_channel).to(weight.dtype).view(shape).expand_as(weight).clone()


class _Reader(fx.Interpreter):
    """Runs the network's graph and sums a measure per channel where the named layers' signals leave their nonlinearity."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor], measure: Callable[[Tensor], Tensor]) -> None:
        try:
            graph_module = fx.symbolic_trace(model)
        except (fx.proxy.TraceError, TypeError) as error:
            raise PassRefused(
                f"The network has control flow that torch.fx cannot trace, so its activations cannot be told apart: {error}",
                code="not_traceable",
            ) from error
        super().__init__(graph_module)
        self._measure = measure
        self._channel_axis = {name: 1 if weight.dim() == 4 else -1 for name, weight in weights.items()}
        self._layers_at: dict[fx.Node, list[str]] = {}
        for node in graph_module.graph.nodes:
            if node.op == "call_module" and str(node.target) in weights:
                self._layers_at.setdefault(_after_nonlinearity(node, graph_module), []).append(str(node.target))
        self._totals: dict[str, Tensor] = {}
        self._n_batches = 0

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Count the batch."""
        self._n_batches += 1
        return super().run(*args, **kwargs)

    def run_node(self, n: fx.Node) -> Any:
        """Measure the value where a layer's signal is wanted."""
        value = super().run_node(n)
        for name in self._layers_at.get(n, ()):
            measured = self._measure(value)
            axis = self._channel_axis[name] % measured.dim()
            mean = measured.mean(dim=[i for i in range(measured.dim()) if i != axis])
            self._totals[name] = self._totals[name] + mean if name in self._totals else mean
        return value

    def mean_of(self, name: str) -> Tensor:
        """Mean per channel over the batches."""
        if name not in self._totals:
            raise PassRefused(f"Layer {name} is not called in the network's graph.", code="not_traceable")
        return self._totals[name] / self._n_batches


def _after_nonlinearity(node: fx.Node, graph_module: fx.GraphModule) -> fx.Node:
    """Return the ReLU that the layer's signal meets first, or the last node before it branches or ends."""
    modules = dict(graph_module.named_modules())
    current = node
    while len(current.users) == 1:
        following = next(iter(current.users))
        module = modules.get(str(following.target)) if following.op == "call_module" else None
        if isinstance(module, (nn.ReLU, nn.ReLU6)) or following.target in (F.relu, torch.relu, F.relu6):
            return following
        if not isinstance(module, _FOLLOWED):
            break
        current = following
    return current
