"""Criteria: how much a weight matters. One registry for structured and unstructured pruning alike."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import torch
from torch import Tensor

from edgefleet_compression.criteria import activations, flow, magnitude, random, sensitivity
from edgefleet_compression.criteria.scene import LossOf, Scene, labels_loss
from edgefleet_compression.passes.specs import CriterionChoice, CriterionName

__all__ = ["CRITERIA", "Criterion", "LossOf", "Scene", "labels_loss", "score_weights"]


class Criterion(Protocol):
    """Score every weight of the given layers; low scores are pruned first.

    Scores are additive: a channel's score is the sum over its weights, so structured pruning needs no code of its own.
    """

    def __call__(self, weights: Mapping[str, Tensor], scene: Scene, /) -> dict[str, Tensor]:
        """Return name -> finite scores of the weight's shape."""


CRITERIA: Final[Mapping[CriterionName, Criterion]] = MappingProxyType(
    {
        "magnitude_l1": magnitude.l1,
        "magnitude_l2": magnitude.l2,
        "taylor": sensitivity.taylor,
        "snip": sensitivity.snip,
        "grasp": sensitivity.grasp,
        "obd": sensitivity.obd,
        "synflow": flow.synflow,
        "apoz": activations.apoz,
        "mean_activation": activations.mean_activation,
        "random": random.uniform,
    }
)
"""Criterion by the name it has in a spec."""


def score_weights(weights: Mapping[str, Tensor], choice: CriterionChoice, scene: Scene) -> dict[str, Tensor]:
    """Return the scores of one criterion, or the weighted sum of several, each first scaled to mean |score| 1."""
    if isinstance(choice, str):
        return CRITERIA[choice](weights, scene)
    total = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}
    for part in choice:
        for name, score in _scaled(CRITERIA[part.criterion](weights, scene)).items():
            total[name] += part.weight * score
    return total


def _scaled(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    n_scores = sum(score.numel() for score in scores.values())
    mean = sum(float(score.abs().sum()) for score in scores.values()) / n_scores
    return {name: score / mean if mean > 0 else score for name, score in scores.items()}
