"""Bits per output channel by importance: the share with the highest scores at 8, the others at 4."""

import math
from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.criteria import Scene, score_weights
from edgefleet_compression.passes.specs import ImportanceGroups
from edgefleet_compression.quantization.sensitivity import weighted_layers

IMPORTANT_BITS: Final = 8
OTHER_BITS: Final = 4


def important_channels(network: nn.Module, spec: ImportanceGroups, scene: Scene) -> dict[str, Tensor]:
    """Return layer -> bits of every output channel, int8 (out,)."""
    weights: dict[str, Tensor] = {name: layer.weight for name, layer in weighted_layers(network).items()}
    scores = score_weights(weights, spec.criterion, scene)
    return {name: _bits(score.detach().flatten(1).sum(dim=1), spec.share) for name, score in scores.items()}


def _bits(scores: Tensor, share: float) -> Tensor:
    n_important = math.ceil(share * len(scores))
    best = torch.argsort(scores, descending=True, stable=True)[:n_important]
    bits = torch.full((len(scores),), OTHER_BITS, dtype=torch.int8)
    bits[best] = IMPORTANT_BITS
    return bits
