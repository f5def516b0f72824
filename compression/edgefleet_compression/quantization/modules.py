"""Fake-quant modules: they compute in float32 what integers would give, with straight-through gradients."""

import math
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.passes.specs import ActivationFormat, WeightFormat

LARGEST_INT8: Final = 127
"""Largest integer of an 8 bit weight. The scale is max|w| / 127, so -128 is unused, though the exporter wants it named."""

MIN_SCALE: Final = float(torch.finfo(torch.float32).eps)
"""Floor of a scale, for channels and tensors that are all zero."""

RANGE_MOMENTUM: Final = 0.1
"""Share of the new range in the moving average while training (Jacob et al. 2018, arXiv:1712.05877, section 3.1)."""


MSE_RATIOS: Final = tuple(0.4 + 0.02 * i for i in range(31))
"""Scales that the mse rule tries, over that of the peak rule; the last one is 1."""


def weight_scales(weight: Tensor, weights: WeightFormat) -> Tensor:
    """Return one scale per output channel by the format's rule. weight: (out, ...) -> (out,).

    peak: max|w| over the largest integer. mse: the multiple of it with the least squared error (Nagel et al. 2021,
    arXiv:2106.08295, section 3.1). A learned scale starts as mse.
    """
    rows = weight.detach().flatten(1)
    peaks: Tensor = (rows.abs().amax(dim=1) / weights.largest).clamp(min=MIN_SCALE)
    if weights.scale == "peak":
        return peaks
    best, least = peaks, torch.full_like(peaks, torch.inf)
    for ratio in MSE_RATIOS:
        scales = peaks * ratio
        error = (round_to_grid(rows, scales[:, None], weights.largest) - rows).square().sum(dim=1)
        best = torch.where(error < least, scales, best)
        least = torch.minimum(error, least)
    return best


def round_to_grid(weight: Tensor, scale: Tensor, largest: int) -> Tensor:
    """Return scale * round(weight / scale), saturated at the largest integer; gradients pass the rounding unchanged.

    The gradient of the scale is that of learned step sizes (Esser et al. 2020, arXiv:1902.08153, equation 3).
    """
    steps = (weight / scale).clamp(-largest, largest)
    return ((torch.round(steps) - steps).detach() + steps) * scale


class QuantizedConv2d(nn.Conv2d):
    """A convolution whose weight is rounded per output channel; see the package's docstring."""

    weights: WeightFormat
    weight_scale: Tensor
    weight_zero_point: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h', w'); follows its weight's range while in training mode."""
        y: Tensor = self._conv_forward(x, fake_quantize_weight(self), self.bias)
        return y


class QuantizedLinear(nn.Linear):
    """A linear layer whose weight is rounded per output channel; see the package's docstring."""

    weights: WeightFormat
    weight_scale: Tensor
    weight_zero_point: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out); follows its weight's range while in training mode."""
        return F.linear(x, fake_quantize_weight(self), self.bias)


QuantizedLayer = QuantizedConv2d | QuantizedLinear


def fake_quantize_weight(layer: QuantizedLayer) -> Tensor:
    """Return the layer's weight as its integers would give it."""
    weights = layer.weights
    if isinstance(layer.weight_scale, nn.Parameter):
        return round_to_grid(layer.weight, _per_row(_slowed(layer), layer.weight), weights.largest)
    if layer.training:
        layer.weight_scale.copy_(weight_scales(layer.weight, weights))
    if weights.bits == 8:  # the operator that the exporter knows
        return torch.fake_quantize_per_channel_affine(
            layer.weight, layer.weight_scale, layer.weight_zero_point, 0, -LARGEST_INT8 - 1, LARGEST_INT8
        )
    return round_to_grid(layer.weight, _per_row(layer.weight_scale, layer.weight), weights.largest)


def _slowed(layer: QuantizedLayer) -> Tensor:
    """Return the learned scale, its gradient divided by sqrt(weights per channel * largest) (Esser et al., section 2.2)."""
    scale = layer.weight_scale.clamp(min=MIN_SCALE)
    slow = scale / math.sqrt(layer.weight[0].numel() * layer.weights.largest)
    return slow + (scale - slow).detach()


def _per_row(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *([1] * (weight.dim() - 1)))


def quantize_layer(module: nn.Conv2d | nn.Linear, weights: WeightFormat) -> QuantizedLayer:
    """Return the quantized counterpart, sharing the weights; scales are those of the present weights."""
    device = module.weight.device
    layer: QuantizedLayer
    if isinstance(module, nn.Conv2d):
        layer = QuantizedConv2d(**_conv_arguments(module))
    else:
        layer = QuantizedLinear(**_linear_arguments(module))
    layer.weight, layer.bias = module.weight, module.bias
    layer.weights = weights
    layer.register_buffer("weight_scale", weight_scales(module.weight, weights))
    layer.register_buffer("weight_zero_point", torch.zeros(len(module.weight), dtype=torch.int32, device=device))
    return layer.train(module.training)


def learn_scales_(model: nn.Module) -> None:
    """Make the weight scales of layers whose format says so parameters, in place."""
    for layer in quantized_layers(model).values():
        if layer.weights.scale == "learned" and not isinstance(layer.weight_scale, nn.Parameter):
            scale = layer.weight_scale
            del layer.weight_scale
            layer.weight_scale = nn.Parameter(scale)


def settle_weights_(model: nn.Module) -> None:
    """Fix the scales and, below 8 bits, put the weights on their grid, in place: the network is as it will be saved."""
    for layer in quantized_layers(model).values():
        scale = layer.weight_scale.detach().clamp(min=MIN_SCALE)
        if isinstance(layer.weight_scale, nn.Parameter):
            del layer.weight_scale
            layer.register_buffer("weight_scale", scale)
        if layer.weights.bits < 8 or layer.weights.scale == "learned":
            with torch.no_grad():
                layer.weight.copy_(round_to_grid(layer.weight, _per_row(scale, layer.weight), layer.weights.largest))


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLayer]:
    """Return name -> layer of every layer whose weights are rounded."""
    return {
        name: module for name, module in model.named_modules() if isinstance(module, QuantizedConv2d | QuantizedLinear)
    }


def plain_layer(layer: QuantizedLayer) -> nn.Conv2d | nn.Linear:
    """Return the float counterpart of a quantized layer, sharing the weights, which are left unrounded."""
    module: nn.Conv2d | nn.Linear
    if isinstance(layer, QuantizedConv2d):
        module = nn.Conv2d(**_conv_arguments(layer))
    else:
        module = nn.Linear(**_linear_arguments(layer))
    module.weight, module.bias = layer.weight, layer.bias
    return module.train(layer.training)


def _conv_arguments(module: nn.Conv2d) -> dict[str, Any]:
    return {
        "in_channels": module.in_channels,
        "out_channels": module.out_channels,
        "kernel_size": module.kernel_size,
        "stride": module.stride,
        "padding": module.padding,
        "dilation": module.dilation,
        "groups": module.groups,
        "bias": module.bias is not None,
        "padding_mode": module.padding_mode,
        "device": module.weight.device,
    }


def _linear_arguments(module: nn.Linear) -> dict[str, Any]:
    return {
        "in_features": module.in_features,
        "out_features": module.out_features,
        "bias": module.bias is not None,
        "device": module.weight.device,
    }


class ActivationFakeQuant(nn.Module):
    """One scale and zero point for a whole tensor.

    ``mode`` is ``observe`` (pass through, widen the range), ``follow`` (quantize; in training mode the range is a moving
    average) or ``fixed``. Only scale and zero point are saved.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, activations: ActivationFormat, *, device: torch.device) -> None:
        super().__init__()
        self.quant_min, self.quant_max = (-128, 127) if activations.signed else (0, 255)
        self.mode: Literal["observe", "follow", "fixed"] = "fixed"
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.register_buffer("scale", torch.ones((), device=device))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Return x as its integers would give it (unchanged while observing)."""
        if self.mode == "observe":
            self._widen(x.detach())
            return x
        if self.mode == "follow" and self.training:
            self._follow(x.detach())
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.quant_min, self.quant_max)

    def settle_(self) -> None:
        """Set scale and zero point from the observed range, which always contains zero."""
        if self.low is None or self.high is None:
            return
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        scale = ((high - low) / (self.quant_max - self.quant_min)).clamp(min=MIN_SCALE)
        zero_point = (self.quant_min - torch.round(low / scale)).clamp(self.quant_min, self.quant_max)
        self.scale.copy_(scale)
        self.zero_point.copy_(zero_point.to(torch.int32))

    def _widen(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    def _follow(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        self.low = low if self.low is None else torch.lerp(self.low, low, RANGE_MOMENTUM)
        self.high = high if self.high is None else torch.lerp(self.high, high, RANGE_MOMENTUM)
        self.settle_()


def refresh_weight_scales_(model: nn.Module) -> None:
    """Set every weight scale that is not learned to that of the present weights."""
    for layer in quantized_layers(model).values():
        if not isinstance(layer.weight_scale, nn.Parameter):
            layer.weight_scale.copy_(weight_scales(layer.weight, layer.weights))
