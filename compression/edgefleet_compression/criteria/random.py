"""Random: the control that every other criterion has to beat."""

from collections.abc import Mapping

import torch
from torch import Tensor

from edgefleet_compression.criteria.scene import Scene


def uniform(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return scores drawn evenly from [0, 1) by the seeded generator."""
    return {name: torch.rand(weight.shape, generator=scene.generator) for name, weight in weights.items()}
