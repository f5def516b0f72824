"""What a criterion may look at besides the weights themselves."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgefleet_compression.data.dataset import DataSet


@dataclass(frozen=True)
class Scene:
    """The network that the weights belong to, one input sample's batch (1, ...), the data set if any, and the seed's generator."""

    model: nn.Module
    example: Tensor
    data: DataSet | None
    generator: torch.Generator
