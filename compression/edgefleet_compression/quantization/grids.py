"""Where the integers of weights lie: scales per output channel, and rounding that gradients pass. Pure tensor maths."""

from typing import Final

import torch
from torch import Tensor

from edgefleet_compression.passes.specs import WeightFormat

MIN_SCALE: Final = float(torch.finfo(torch.float32).eps)
"""Floor of a scale, for channels and tensors that are all zero."""

MSE_RATIOS: Final = tuple(0.4 + 0.02 * i for i in range(31))
"""Scales that the mse rule tries, over that of the peak rule; the last one is 1."""


def weight_scales(weight: Tensor, weights: WeightFormat, largest: Tensor | None = None) -> Tensor:
    """Return one scale per output channel by the format's rule. weight: (out, ...) -> (out,).

    peak: max|w| over the largest integer. mse: the multiple of it with the least squared error (Nagel et al. 2021,
    arXiv:2106.08295, section 3.1). A learned scale starts as mse. 1 bit: mean|w|, the least squared error of signs
    (Rastegari et al. 2016, arXiv:1603.05279, equation 6). Granularity tensor: the same number for all channels.
    largest: (out,) where channels differ in their largest integer; None: the format's.
    """
    if weights.granularity == "tensor":
        whole = weights.model_copy(update={"granularity": "channel"})
        return weight_scales(weight.reshape(1, -1), whole).expand(len(weight)).clone()
    rows = weight.detach().flatten(1)
    if weights.bits == 1:
        return rows.abs().mean(dim=1).clamp(min=MIN_SCALE)
    bound = rows.new_full((len(rows),), float(weights.largest)) if largest is None else largest.to(rows.dtype)
    peaks: Tensor = (rows.abs().amax(dim=1) / bound).clamp(min=MIN_SCALE)
    if weights.scale == "peak":
        return peaks
    best, least = peaks, torch.full_like(peaks, torch.inf)
    for ratio in MSE_RATIOS:
        scales = peaks * ratio
        error = (round_to_grid(rows, scales[:, None], bound[:, None]) - rows).square().sum(dim=1)
        best = torch.where(error < least, scales, best)
        least = torch.minimum(error, least)
    return best


def round_to_grid(weight: Tensor, scale: Tensor, largest: int | Tensor) -> Tensor:
    """Return scale * round(weight / scale), saturated at the largest integer; gradients pass the rounding unchanged.

    The gradient of the scale is that of learned step sizes (Esser et al. 2020, arXiv:1902.08153, equation 3).
    """
    bound = torch.as_tensor(largest, dtype=weight.dtype, device=weight.device)
    steps = torch.clamp(weight / scale, min=-bound, max=bound)
    return ((torch.round(steps) - steps).detach() + steps) * scale


def take_signs(weight: Tensor, scale: Tensor) -> Tensor:
    """Return scale * sign(weight), the sign of zero being 1; gradients pass where |weight| <= scale (arXiv:1603.05279)."""
    steps = (weight / scale).clamp(-1.0, 1.0)
    signs = torch.where(steps < 0, -torch.ones_like(steps), torch.ones_like(steps))
    return ((signs - steps).detach() + steps) * scale


def per_row(values: Tensor, weight: Tensor) -> Tensor:
    """Return values (out,) or (1,) in a shape that broadcasts over the weight's rows."""
    return values.view(-1, *([1] * (weight.dim() - 1)))
