"""Random shifts and mirror images, drawn from the training's own generator."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from edgefleet_compression.passes.specs import Augmentation

SHIFT_SHARE: Final = 8
"""Largest shift: the side over this; 4 pixels of 32 (He et al. 2016, arXiv:1512.03385, section 4.2)."""


def augmented(x: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return the batch as training shows it; samples that are not augmented are returned as they are, without a draw."""
    return crop_and_flip(x, generator) if augmentation == "crop_flip" else x


def crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (n, c, h, w), each shifted by its own offset over zeros and mirrored with probability 1/2."""
    n, _, height, width = x.shape
    pad_y, pad_x = height // SHIFT_SHARE, width // SHIFT_SHARE
    padded = F.pad(x, (pad_x, pad_x, pad_y, pad_y))
    top = torch.randint(0, 2 * pad_y + 1, (n,), generator=generator)
    left = torch.randint(0, 2 * pad_x + 1, (n,), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    rows = top[:, None] + torch.arange(height)
    columns = torch.where(
        mirrored[:, None], left[:, None] + torch.arange(width - 1, -1, -1), left[:, None] + torch.arange(width)
    )
    picked = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()
