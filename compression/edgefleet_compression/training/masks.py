"""Masks: which weights, kernels or filters go, given their scores. Pure functions of tensors; True = keep.

Structures: ``weights`` single ones; ``kernels`` all weights between one input and one output channel of a convolution;
``filters`` all weights of an output channel (a neuron of a linear layer); ``N:M`` of every M weights in a row along the
inputs, N stay (Mishra et al. 2021, arXiv:2104.08378).
"""

from collections.abc import Mapping
from typing import Final, Literal

import torch
from torch import Tensor

from edgefleet_compression.passes.specs import SparsityStructure

Masks = dict[str, Tensor]

LEAST_KEPT: Final = 0.02
"""Share of a layer's weights that a dynamic allocation always leaves."""


def make_masks(
    scores: Mapping[str, Tensor],
    amount: float,
    *,
    scope: Literal["layer", "global"],
    structure: SparsityStructure,
) -> Masks:
    """Return masks of the scores' shapes that drop the share ``amount`` of each layer, or of all weights together.

    Single weights are dropped exactly, round(amount * n) of them. Groups are dropped in the order of their mean score as
    long as the share is not exceeded. Low scores go first, ties by position. N:M masks are per layer by nature.
    """
    if ":" in structure:
        return {name: _keep_n_of_m(score, amount, structure) for name, score in scores.items()}
    if scope == "layer":
        return {name: _drop_lowest({name: score}, amount, structure)[name] for name, score in scores.items()}
    return _drop_lowest(scores, amount, structure)


def allocate(amount: float, activity: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, float]:
    """Return name -> share to drop, together ``amount`` of all weights: less where a layer is still active.

    activity: name -> positive number, larger where gradients and activations still move. sizes: name -> weights.
    The kept share of a layer is proportional to its activity, between LEAST_KEPT and 1.
    """
    total = sum(sizes.values())
    wanted = (1.0 - amount) * total
    low, high = 0.0, 1.0 / min(activity.values())

    def kept(factor: float) -> dict[str, float]:
        return {name: min(1.0, max(LEAST_KEPT, factor * value)) for name, value in activity.items()}

    for _ in range(60):  # halvings: far below one weight
        middle = (low + high) / 2
        n_kept = sum(kept(middle)[name] * sizes[name] for name in sizes)
        low, high = (middle, high) if n_kept < wanted else (low, middle)
    return {name: 1.0 - share for name, share in kept(high).items()}


def _drop_lowest(scores: Mapping[str, Tensor], amount: float, structure: SparsityStructure) -> Masks:
    groups = {name: _group_scores(score, structure) for name, score in scores.items()}
    values = torch.cat([group.flatten() for group in groups.values()])
    sizes = torch.cat(
        [torch.full((group.numel(),), scores[name].numel() // group.numel()) for name, group in groups.items()]
    )
    order = torch.argsort(values, stable=True)
    n_weights = round(amount * sum(score.numel() for score in scores.values()))
    dropped = order[sizes[order].cumsum(0) <= n_weights]
    keep = torch.ones(values.numel(), dtype=torch.bool)
    keep[dropped] = False
    pieces = torch.split(keep, [group.numel() for group in groups.values()])
    return {
        name: _spread(piece.view_as(groups[name]), scores[name]) for name, piece in zip(groups, pieces, strict=True)
    }


def _group_scores(score: Tensor, structure: SparsityStructure) -> Tensor:
    if structure == "filters":
        return score.flatten(1).mean(dim=1)
    if structure == "kernels" and score.dim() == 4:
        return score.mean(dim=(2, 3))
    return score


def _spread(keep: Tensor, like: Tensor) -> Tensor:
    shape = (*keep.shape, *([1] * (like.dim() - keep.dim())))
    return keep.view(shape).expand_as(like).clone()


def _keep_n_of_m(score: Tensor, amount: float, structure: SparsityStructure) -> Tensor:
    """Keep the best of every M; on the way to N the number kept follows the amount. A last part of M stays whole."""
    m = int(structure.partition(":")[2])
    n_kept = max(round(m * (1.0 - amount)), int(structure.partition(":")[0]))
    rows = score.flatten(1)
    width = rows.shape[1] - rows.shape[1] % m
    keep = torch.ones_like(rows, dtype=torch.bool)
    if width:
        parts = rows[:, :width].reshape(len(rows), -1, m)
        order = torch.argsort(parts, dim=2, stable=True)
        chosen = torch.zeros_like(parts, dtype=torch.bool).scatter_(2, order[:, :, m - n_kept :], value=True)
        keep[:, :width] = chosen.reshape(len(rows), width)
    return keep.view_as(score)
