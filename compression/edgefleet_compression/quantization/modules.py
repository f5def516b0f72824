"""Fake-quant modules: they compute in float32 what integers would give, with straight-through gradients."""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.passes.specs import WeightFormat
from edgefleet_compression.quantization.grids import MIN_SCALE, per_row, round_to_grid, take_signs, weight_scales

LARGEST_INT8: Final = 127
"""Largest integer of an 8 bit weight. The scale is max|w| / 127, so -128 is unused, though the exporter wants it named."""


class QuantizedConv2d(nn.Conv2d):
    """A convolution whose weight is rounded per output channel; see the package's docstring."""

    weights: WeightFormat
    weight_scale: Tensor
    weight_zero_point: Tensor
    weight_bits: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h', w'); follows its weight's range while in training mode."""
        y: Tensor = self._conv_forward(x, fake_quantize_weight(self), self.bias)
        return y


class QuantizedLinear(nn.Linear):
    """A linear layer whose weight is rounded per output channel; see the package's docstring."""

    weights: WeightFormat
    weight_scale: Tensor
    weight_zero_point: Tensor
    weight_bits: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out); follows its weight's range while in training mode."""
        return F.linear(x, fake_quantize_weight(self), self.bias)


QuantizedLayer = QuantizedConv2d | QuantizedLinear


def fake_quantize_weight(layer: QuantizedLayer) -> Tensor:
    """Return the layer's weight as its integers would give it."""
    if isinstance(layer.weight_scale, nn.Parameter):
        return rounded(layer, _slowed(layer))
    if layer.training:
        layer.weight_scale.copy_(weight_scales(layer.weight, layer.weights, channel_largest(layer)))
    if layer.weights.bits == 8 and layer.weight_bits is None:  # the operator that the exporter knows
        return torch.fake_quantize_per_channel_affine(
            layer.weight, layer.weight_scale, layer.weight_zero_point, 0, -LARGEST_INT8 - 1, LARGEST_INT8
        )
    return rounded(layer, layer.weight_scale)


def rounded(layer: QuantizedLayer, scale: Tensor) -> Tensor:
    """Return the layer's weight on the grid of these scales, (out,) or (1,)."""
    spread = per_row(scale, layer.weight)
    if layer.weights.bits == 1:
        return take_signs(layer.weight, spread)
    largest = channel_largest(layer)
    return round_to_grid(
        layer.weight, spread, layer.weights.largest if largest is None else per_row(largest, layer.weight)
    )


def channel_largest(layer: QuantizedLayer) -> Tensor | None:
    """Return the largest integer of every output channel (out,); None where the format's holds for all."""
    if layer.weight_bits is None:
        return None
    return (2.0 ** (layer.weight_bits.to(layer.weight.dtype) - 1) - 1).clamp(min=1.0)


def channel_bits(layer: QuantizedLayer) -> Tensor:
    """Return the bits of every output channel, int8 (out,)."""
    if layer.weight_bits is not None:
        return layer.weight_bits
    return torch.full((len(layer.weight),), layer.weights.bits, dtype=torch.int8, device=layer.weight.device)


def _slowed(layer: QuantizedLayer) -> Tensor:
    """Return the learned scale, its gradient divided by sqrt(weights per scale * largest) (Esser et al., section 2.2)."""
    scale = layer.weight_scale.clamp(min=MIN_SCALE)
    n_weights = layer.weight.numel() // scale.numel()
    slow = scale / math.sqrt(n_weights * layer.weights.largest)
    return slow + (scale - slow).detach()


def quantize_layer(
    module: nn.Conv2d | nn.Linear, weights: WeightFormat, bits_of_channels: Tensor | None = None
) -> QuantizedLayer:
    """Return the quantized counterpart, sharing the weights; scales are those of the present weights.

    bits_of_channels: int8 (out,), bits of each output channel where they differ; None: the format's for all.
    """
    device = module.weight.device
    layer: QuantizedLayer
    if isinstance(module, nn.Conv2d):
        layer = QuantizedConv2d(**_conv_arguments(module))
    else:
        layer = QuantizedLinear(**_linear_arguments(module))
    layer.weight, layer.bias = module.weight, module.bias
    layer.weights = weights
    layer.register_buffer("weight_bits", bits_of_channels)
    layer.register_buffer("weight_scale", weight_scales(module.weight, weights, channel_largest(layer)))
    layer.register_buffer("weight_zero_point", torch.zeros(len(module.weight), dtype=torch.int32, device=device))
    return layer.train(module.training)


def learn_scales_(model: nn.Module) -> None:
    """Make the weight scales of layers whose format says so parameters, in place."""
    for layer in quantized_layers(model).values():
        if layer.weights.scale == "learned" and not isinstance(layer.weight_scale, nn.Parameter):
            scale = layer.weight_scale[:1] if layer.weights.granularity == "tensor" else layer.weight_scale
            del layer.weight_scale
            layer.weight_scale = nn.Parameter(scale.clone())


def settle_weights_(model: nn.Module) -> None:
    """Fix the scales and put the weights on their grid, in place: the network is as it will be saved.

    Where all layers have the plain 8 bit format their weights stay as they are: the exporter's operator rounds them.
    """
    layers = quantized_layers(model).values()
    is_plain = all(layer.weights.is_plain and layer.weight_bits is None for layer in layers)
    for layer in layers:
        scale = layer.weight_scale.detach().clamp(min=MIN_SCALE).expand(len(layer.weight)).clone()
        if isinstance(layer.weight_scale, nn.Parameter):
            del layer.weight_scale
            layer.register_buffer("weight_scale", scale)
        if not is_plain:
            with torch.no_grad():
                layer.weight.copy_(rounded(layer, scale))


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


def set_channel_bits_(layer: QuantizedLayer, bits_of_channels: Tensor) -> None:
    """Give each output channel its bits, int8 (out,), and the scale that goes with them."""
    layer.weight_bits = bits_of_channels
    layer.weight_scale.copy_(weight_scales(layer.weight, layer.weights, channel_largest(layer)))


def refresh_weight_scales_(model: nn.Module) -> None:
    """Set every weight scale that is not learned to that of the present weights."""
    for layer in quantized_layers(model).values():
        if not isinstance(layer.weight_scale, nn.Parameter):
            layer.weight_scale.copy_(weight_scales(layer.weight, layer.weights, channel_largest(layer)))
