"""Fake-quant of activations: ranges observed, followed while training, or learned."""

import math
from typing import Final, Literal

import torch
from torch import Tensor, nn

from edgefleet_compression.passes.specs import ActivationFormat
from edgefleet_compression.quantization.grids import MIN_SCALE
from edgefleet_compression.quantization.observers import Histogram, empty_histogram

RANGE_MOMENTUM: Final = 0.1
"""Share of the new range in the moving average while training (Jacob et al. 2018, arXiv:1712.05877, section 3.1)."""


class ActivationFakeQuant(nn.Module):
    """One scale and zero point for a whole tensor.

    ``mode`` is ``observe`` (pass through, widen the range), ``count`` (pass through, fill a histogram over that range),
    ``follow`` (quantize; in training mode the range is a moving average), ``learn`` (quantize by a scale that is a
    parameter) or ``fixed``. Only scale and zero point are saved.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, activations: ActivationFormat, *, device: torch.device) -> None:
        super().__init__()
        n_levels = int(2**activations.bits)
        self.quant_min = -n_levels // 2 if activations.signed else 0
        self.quant_max = self.quant_min + n_levels - 1
        self.is_symmetric = activations.symmetric
        self.is_learned = activations.scale == "learned"
        self.mode: Literal["observe", "count", "follow", "learn", "fixed"] = "fixed"
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.histogram: Histogram | None = None
        self.register_buffer("scale", torch.ones((), device=device))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32, device=device))

    @property
    def n_levels(self) -> int:
        """How many integers there are."""
        return self.quant_max - self.quant_min + 1

    def forward(self, x: Tensor) -> Tensor:
        """Return x as its integers would give it (unchanged while observing and counting)."""
        if self.mode == "observe":
            self._widen(x.detach())
            return x
        if self.mode == "count":
            self._count(x.detach())
            return x
        if self.mode == "learn":
            return self._learned(x)
        if self.mode == "follow" and self.training:
            self._follow(x.detach())
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.quant_min, self.quant_max)

    def settle_(self) -> None:
        """Set scale and zero point from the observed range, which always contains zero."""
        if self.low is None or self.high is None:
            return
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        if self.is_symmetric:
            n_positive = (self.n_levels - 1) // 2
            scale = (torch.maximum(-low, high) / n_positive).clamp(min=MIN_SCALE)
            zero_point = torch.full_like(scale, self.quant_max - n_positive)
        else:
            scale = ((high - low) / (self.n_levels - 1)).clamp(min=MIN_SCALE)
            zero_point = (self.quant_min - torch.round(low / scale)).clamp(self.quant_min, self.quant_max)
        self.scale.copy_(scale)
        self.zero_point.copy_(zero_point.to(torch.int32))

    def learn_(self) -> None:
        """Make the scale a parameter, starting from its present value; the zero point stays."""
        if not isinstance(self.scale, nn.Parameter):
            scale = self.scale
            del self.scale
            self.scale = nn.Parameter(scale.clone())
        self.mode = "learn"

    def fix_(self) -> None:
        """Fix scale and zero point and forget what was observed."""
        if isinstance(self.scale, nn.Parameter):
            scale = self.scale.detach().clamp(min=MIN_SCALE)
            del self.scale
            self.register_buffer("scale", scale)
        self.mode, self.low, self.high, self.histogram = "fixed", None, None, None

    def _learned(self, x: Tensor) -> Tensor:
        # gradients as in Esser et al. 2020, arXiv:1902.08153, equation 3, slowed by sqrt(values per sample * integers)
        scale = self.scale.clamp(min=MIN_SCALE)
        slow = scale / math.sqrt(x[0].numel() * (self.n_levels - 1))
        scale = slow + (scale - slow).detach()
        steps = (x / scale + self.zero_point).clamp(self.quant_min, self.quant_max)
        return ((torch.round(steps) - steps).detach() + steps - self.zero_point) * scale

    def _widen(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    def _count(self, x: Tensor) -> None:
        if self.low is None or self.high is None:
            return
        if self.histogram is None:
            self.histogram = empty_histogram(float(self.low), float(self.high))
        self.histogram.add(x)

    def _follow(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        self.low = low if self.low is None else torch.lerp(self.low, low, RANGE_MOMENTUM)
        self.high = high if self.high is None else torch.lerp(self.high, high, RANGE_MOMENTUM)
        self.settle_()
