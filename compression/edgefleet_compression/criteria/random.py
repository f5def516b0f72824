"""Random: the control that every other criterion has to beat."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def uniform(weights: Mapping[str, Tensor], *, generator: torch.Generator, **_: Any) -> dict[str, Tensor]:
    """Return scores drawn evenly from [0, 1) by the seeded generator."""
    return {name: torch.rand(weight.shape, generator=generator) for name, weight in weights.items()}
