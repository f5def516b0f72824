"""Fake-quant modules: they compute in float32 what integers would give, with straight-through gradients."""

from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.passes.specs import ActivationFormat

WEIGHT_MIN: Final = -128
WEIGHT_MAX: Final = 127
"""Range of signed 8 bit integers; the ONNX exporter takes this pair only. The scale is max|w| / 127, so -128 is unused."""

MIN_SCALE: Final = float(torch.finfo(torch.float32).eps)
"""Floor of a scale, for channels and tensors that are all zero."""

RANGE_MOMENTUM: Final = 0.1
"""Share of the new range in the moving average while training (Jacob et al. 2018, arXiv:1712.05877, section 3.1)."""


def weight_scales(weight: Tensor) -> Tensor:
    """Return one scale per output channel: max|w| / 127. weight: (out, ...) -> (out,)."""
    peak = weight.detach().abs().flatten(1).amax(dim=1)
    scales: Tensor = (peak / WEIGHT_MAX).clamp(min=MIN_SCALE)
    return scales


class QuantizedConv2d(nn.Conv2d):
    """A convolution whose weight is rounded to int8 per output channel; see the package's docstring."""

    weight_scale: Tensor
    weight_zero_point: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h', w'); follows its weight's range while in training mode."""
        y: Tensor = self._conv_forward(x, fake_quantize_weight(self), self.bias)
        return y


class QuantizedLinear(nn.Linear):
    """A linear layer whose weight is rounded to int8 per output channel; see the package's docstring."""

    weight_scale: Tensor
    weight_zero_point: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out); follows its weight's range while in training mode."""
        return F.linear(x, fake_quantize_weight(self), self.bias)


QuantizedLayer = QuantizedConv2d | QuantizedLinear


def fake_quantize_weight(layer: QuantizedLayer) -> Tensor:
    """Return the layer's weight as its integers would give it."""
    if layer.training:
        layer.weight_scale.copy_(weight_scales(layer.weight))
    return torch.fake_quantize_per_channel_affine(
        layer.weight, layer.weight_scale, layer.weight_zero_point, 0, WEIGHT_MIN, WEIGHT_MAX
    )


def quantize_layer(module: nn.Conv2d | nn.Linear) -> QuantizedLayer:
    """Return the quantized counterpart, sharing the weights; scales are those of the present weights."""
    device = module.weight.device
    layer: QuantizedLayer
    if isinstance(module, nn.Conv2d):
        layer = QuantizedConv2d(**_conv_arguments(module))
    else:
        layer = QuantizedLinear(**_linear_arguments(module))
    layer.weight, layer.bias = module.weight, module.bias
    layer.register_buffer("weight_scale", weight_scales(module.weight))
    layer.register_buffer("weight_zero_point", torch.zeros(len(module.weight), dtype=torch.int32, device=device))
    return layer.train(module.training)


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
    """Set every weight scale to that of the present weights."""
    for module in model.modules():
        if isinstance(module, (QuantizedConv2d, QuantizedLinear)):
            module.weight_scale.copy_(weight_scales(module.weight))
