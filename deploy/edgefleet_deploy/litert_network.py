"""What a candidate's simulated quantization says about every stored activation, and its float network with rounded weights."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from edgefleet_compression.layers import replace_module_
from edgefleet_compression.quantization.graph import list_points
from edgefleet_compression.quantization.modules import QuantizedConv2d, QuantizedLinear, plain_layer
from edgefleet_deploy.onnx_graph import Array

INT8_MIN = -128
INT8_MAX = 127
_BATCH = 64


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of a tensor; always contains zero, as an asymmetric integer format needs."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a range that no scale could be made of."""
        if not self.low <= 0.0 <= self.high:
            raise ValueError(f"range [{self.low}, {self.high}] does not contain zero")

    @property
    def width(self) -> float:
        """Largest minus smallest value."""
        return self.high - self.low


@dataclass(frozen=True)
class Point:
    """One stored activation: the range it was seen in, and the range that its int8 numbers stand for."""

    seen: Range
    represented: Range


def observe_points(model: nn.Module, inputs: Array) -> tuple[Point, ...]:
    """Return the points of a network with simulated quantization, seen in float over inputs (n, ...); empty without any.

    Nothing is rounded while observing, as in the float network that the converter gets.
    """
    watched = copy.deepcopy(model).eval()
    for name, module in list(watched.named_modules()):
        if isinstance(module, (QuantizedConv2d, QuantizedLinear)):
            replace_module_(watched, name, plain_layer(module))
    points = list_points(watched)
    for point in points.values():
        point.mode, point.low, point.high = "observe", None, None
    if points:
        with torch.no_grad():
            for batch in torch.split(torch.from_numpy(inputs), _BATCH):
                watched(batch)
    found = []
    for point in points.values():
        if point.low is None or point.high is None:
            continue
        seen = Range(min(0.0, float(point.low)), max(0.0, float(point.high)))
        found.append(Point(seen, _represented(float(point.scale), int(point.zero_point) - point.quant_min + INT8_MIN)))
    return tuple(found)


def _represented(scale: float, zero_point: int) -> Range:
    """Return the range of int8 numbers with this scale and zero point (-128..127)."""
    return Range((INT8_MIN - zero_point) * scale, (INT8_MAX - zero_point) * scale)


def round_weights(model: nn.Module, bits: int) -> nn.Module:
    """Return a copy whose weights stand on a signed, symmetric grid of 8 or 4 bits with one scale per output channel.

    This is what a file with integer weights and float arithmetic computes. The largest integer is 127 or 7. Depthwise
    convolutions have no 4-bit form and stay as they are.
    """
    rounded = copy.deepcopy(model).eval()
    largest = 2 ** (bits - 1) - 1
    for module in rounded.modules():
        if isinstance(module, nn.Conv2d) and bits < 8 and module.groups == module.in_channels:
            continue
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Embedding)):
            peak = module.weight.detach().abs().flatten(1).amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
            scale = (peak / largest).reshape(-1, *[1] * (module.weight.dim() - 1))
            module.weight = nn.Parameter(torch.round(module.weight.detach() / scale) * scale, requires_grad=False)
    return rounded
