"""What a criterion may look at besides the weights themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.data.dataset import DataSet

LossOf = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""(network, samples, labels, their positions in the training split) -> mean loss."""


def labels_loss(model: nn.Module, x: Tensor, y: Tensor, _indices: Tensor) -> Tensor:
    """Return the mean cross-entropy of the labels."""
    return F.cross_entropy(model(x), y)


@dataclass(frozen=True)
class Scene:
    """The network that the weights belong to, one sample's batch (1, ...), the data set if any, the seed's generator, and
    the loss that gradients are taken of.
    """

    model: nn.Module
    example: Tensor
    data: DataSet | None
    generator: torch.Generator
    loss: LossOf = labels_loss
