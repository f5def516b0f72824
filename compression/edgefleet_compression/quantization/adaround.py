"""Learn whether each weight is rounded up or down (Nagel et al. 2020, "Up or Down?", arXiv:2004.10568)."""

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgefleet_compression.child import Emit
from edgefleet_compression.quantization.grids import per_row
from edgefleet_compression.quantization.layer_signals import Signals, layers_in_order, observe_layer
from edgefleet_compression.quantization.modules import QuantizedConv2d, QuantizedLayer, channel_largest

ZETA: Final = 1.1
GAMMA: Final = -0.1
"""Stretch of the rectified sigmoid (section 3.2, after Louizos et al. 2018)."""

REGULARISER_WEIGHT: Final = 0.01
BETA_START: Final = 20.0
BETA_END: Final = 2.0
WARM_UP: Final = 0.2
LEARNING_RATE: Final = 0.01
BATCH: Final = 32
"""Settings of the authors' implementation (AIMET, adaround_weight.py: reg_param, beta_range, warm_start, batch size)."""


@dataclass(frozen=True)
class _Grid:
    """The lower of the two integers each weight may become, and how they turn into weights."""

    floor: Tensor
    scale: Tensor
    largest: Tensor

    def weights(self, upward: Tensor) -> Tensor:
        """Return the weights when ``upward`` (0..1, per weight) is added to the lower integers."""
        return torch.clamp(self.floor + upward, min=-self.largest, max=self.largest) * self.scale


def round_adaptively_(
    model: fx.GraphModule, reference: nn.Module, samples: Tensor, *, n_steps: int, seed: int, emit: Emit
) -> None:
    """Put the weights of every rounded layer on the grid points that reconstruct the float network's layer outputs best.

    Layer after layer in the graph's order; each sees the inputs that the rounded layers before it give. Scales stay.
    A layer whose learned rounding does not beat the nearest on all samples keeps the nearest. Signs (1 bit) stay.
    """
    layers = layers_in_order(model)
    generator = torch.Generator().manual_seed(seed)
    for index, (name, layer) in enumerate(layers.items()):
        emit(index / len(layers), f"rounding {name}")
        if layer.weights.bits > 1:
            signals = Signals(
                observe_layer(model, name, samples).inputs, observe_layer(reference, name, samples).outputs
            )
            _round_layer_(layer, signals, n_steps, generator)


def _round_layer_(layer: QuantizedLayer, signals: Signals, n_steps: int, generator: torch.Generator) -> None:
    weight = layer.weight.detach()
    scale = per_row(layer.weight_scale, weight)
    bounds = channel_largest(layer)
    largest = weight.new_tensor(layer.weights.largest) if bounds is None else per_row(bounds, weight)
    steps = torch.clamp(weight / scale, min=-largest, max=largest)
    grid = _Grid(torch.floor(steps), scale, largest)
    nearest = grid.weights(torch.round(steps) - grid.floor)
    learned = grid.weights(
        (_learn(layer, grid, steps - grid.floor, signals, n_steps, generator) >= 0.5).to(weight.dtype)
    )
    chosen = min((nearest, learned), key=lambda rounded: reconstruction_error(layer, rounded, signals))
    with torch.no_grad():
        layer.weight.copy_(chosen)


def _learn(
    layer: QuantizedLayer, grid: _Grid, rest: Tensor, signals: Signals, n_steps: int, generator: torch.Generator
) -> Tensor:
    """Return h (0..1, per weight) after ``n_steps`` of Adam on equation 21 of the paper."""
    share = (rest.clamp(0.0, 1.0) - GAMMA) / (ZETA - GAMMA)
    logits = torch.log(share / (1.0 - share)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=LEARNING_RATE)
    for step in range(n_steps):
        chosen = torch.randperm(len(signals.inputs), generator=generator)[:BATCH]
        upward = rectified_sigmoid(logits)
        found = compute(layer, signals.inputs[chosen], grid.weights(upward))
        loss = (found - signals.outputs[chosen]).square().sum(dim=1).mean()
        progress = step / n_steps
        if progress >= WARM_UP:
            loss = loss + REGULARISER_WEIGHT * regulariser(upward, _beta((progress - WARM_UP) / (1.0 - WARM_UP)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return rectified_sigmoid(logits).detach()


def rectified_sigmoid(logits: Tensor) -> Tensor:
    """Return clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1) (equation 23)."""
    return (torch.sigmoid(logits) * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)


def regulariser(upward: Tensor, beta: float) -> Tensor:
    """Return sum(1 - |2 h - 1|^beta) (equation 24): 0 where every h is 0 or 1."""
    return (1.0 - (2.0 * upward - 1.0).abs().pow(beta)).sum()


def _beta(progress: float) -> float:
    return BETA_END + 0.5 * (BETA_START - BETA_END) * (1.0 + math.cos(math.pi * progress))


def reconstruction_error(layer: QuantizedLayer, weight: Tensor, signals: Signals) -> float:
    """Return the mean squared difference of the layer's outputs with this weight from the wanted ones."""
    with torch.no_grad():
        parts = zip(torch.split(signals.inputs, 128), torch.split(signals.outputs, 128), strict=True)
        total = sum(float((compute(layer, x, weight) - y).square().sum()) for x, y in parts)
    return total / signals.outputs.numel()


def compute(layer: QuantizedLayer, x: Tensor, weight: Tensor) -> Tensor:
    """Return the layer's outputs with another weight."""
    if isinstance(layer, QuantizedConv2d):
        y: Tensor = layer._conv_forward(x, weight, layer.bias)
        return y
    return F.linear(x, weight, layer.bias)
