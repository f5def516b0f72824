"""Magnitude: a small weight matters little (Han et al. 2015, arXiv:1506.02626; channels: Li et al. 2017, arXiv:1608.08710)."""

from collections.abc import Mapping

from torch import Tensor

from edgefleet_compression.criteria.scene import Scene


def l1(weights: Mapping[str, Tensor], _scene: Scene) -> dict[str, Tensor]:
    """Return |w|: summed over a channel, its L1 norm."""
    return {name: weight.detach().abs() for name, weight in weights.items()}


def l2(weights: Mapping[str, Tensor], _scene: Scene) -> dict[str, Tensor]:
    """Return w^2: summed over a channel, its squared L2 norm, which ranks as the norm does."""
    return {name: weight.detach().square() for name, weight in weights.items()}
