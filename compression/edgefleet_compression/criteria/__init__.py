"""Criteria: how much a weight matters. One registry for structured and unstructured pruning alike."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from edgefleet_compression.criteria import magnitude, random
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.passes.specs import CriterionName


class Criterion(Protocol):
    """Score every weight of the given layers; low scores are pruned first.

    Scores are additive: a channel's score is the sum over its weights, so structured pruning needs no code of its own.
    """

    def __call__(
        self, weights: Mapping[str, Tensor], *, model: nn.Module, data: DataSet | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return name -> non-negative scores of the weight's shape."""


CRITERIA: Final[Mapping[CriterionName, Criterion]] = MappingProxyType(
    {"magnitude_l1": magnitude.l1, "magnitude_l2": magnitude.l2, "random": random.uniform}
)
"""Criterion by the name it has in a spec."""
