"""Synaptic flow: how much of a signal of ones passes through each weight."""

import copy
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.criteria.gradients import gradients_of
from edgefleet_compression.criteria.scene import Scene
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.layers import replace_module_

_BENDING: Final = (nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU, nn.Softplus)
"""Nonlinearities that a positive signal does not pass unchanged. A ReLU6 saturates, and nothing before it would count."""

_GATES: Final = (nn.Sigmoid, nn.Hardsigmoid)


class _Share(nn.Module):
    """In place of a gate: how much each channel has of the signal's mean, so that neither gate nor gated grows or dies."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, ...) to the same shape with mean 1 (0 where there is no signal)."""
        mean = x.detach().mean()
        return x / mean if mean > 0 else x


def synflow(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return |w dR/dw| of the synaptic flow R = 1' (product of |W|) 1 (Tanaka et al. 2020, arXiv:2006.05467, equation 3).

    Data-free; meant to be repeated along an exponential schedule, because one shot can empty a layer. In float64: R is a
    product over all layers. BatchNorm multiplies by |gamma| only, since the flow has no statistics of its own, and
    nonlinearities let it pass: R is the product of the weights, whatever bends the network's own signals.
    Raises PassRefused ``criterion_needs_float_input`` for token networks, whose flow has no signal of ones to start from.
    """
    if not scene.example.is_floating_point():
        raise PassRefused(
            "synflow sends a signal of ones through the network, and this one takes token ids: choose another criterion.",
            code="criterion_needs_float_input",
        )
    network = _linear_copy(scene.model)
    layers = {name: network.get_parameter(f"{name}.weight") for name in weights}
    flow = network(torch.ones_like(scene.example, dtype=torch.float64)).sum()
    gradients = gradients_of(flow, layers)
    return {name: (layers[name].detach() * gradients[name]).abs().to(weight.dtype) for name, weight in weights.items()}


def _linear_copy(model: nn.Module) -> nn.Module:
    """Return a float64 copy with absolute weights, no biases, BatchNorm reduced to |gamma|, and nothing that saturates."""
    network = copy.deepcopy(model).double().eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, _BENDING):
            replace_module_(network, name, nn.Identity())
        elif isinstance(module, _GATES):
            replace_module_(network, name, _Share())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.abs_()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                assert module.running_var is not None
                module.running_mean.zero_()
                module.running_var.fill_(1.0)
    return network.requires_grad_(True)
