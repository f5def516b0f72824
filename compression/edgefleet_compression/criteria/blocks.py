"""What a block is worth, measured on the network as it stands; low scores go first.

A block is compared with what would stand in its place: its input, or the projection on its shortcut.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.criteria.gradients import at_rest
from edgefleet_compression.models.blocks import Unit
from edgefleet_compression.passes.specs import BlockCriterionName

BATCH: Final = 64
TINY: Final = 1e-12

BlockCriterion = Callable[[nn.Module, Mapping[str, Unit], Tensor, Tensor | None, torch.Generator], dict[str, float]]
"""(network, units by name, samples, labels or None, generator) -> score of every unit."""


def influence(
    model: nn.Module, units: Mapping[str, Unit], x: Tensor, _y: Tensor | None, _generator: torch.Generator
) -> dict[str, float]:
    """Return 1 - cosine between a unit's bypass and its output, averaged over tokens or images.

    Men et al. 2024, arXiv:2403.03853, equation 1.
    """
    return _mean_over_vectors(model, units, x, lambda before, after: 1.0 - F.cosine_similarity(before, after, dim=1))


def change(
    model: nn.Module, units: Mapping[str, Unit], x: Tensor, _y: Tensor | None, _generator: torch.Generator
) -> dict[str, float]:
    """Return the distance between a unit's bypass and its output over the bypass's norm, averaged over tokens or images."""
    return _mean_over_vectors(
        model, units, x, lambda before, after: (after - before).norm(dim=1) / before.norm(dim=1).clamp(min=TINY)
    )


def loss(
    model: nn.Module, units: Mapping[str, Unit], x: Tensor, y: Tensor | None, _generator: torch.Generator
) -> dict[str, float]:
    """Return the mean cross-entropy of the network without the unit."""
    assert y is not None
    return {name: _loss_without(model, unit, x, y) for name, unit in units.items()}


def random(
    _model: nn.Module, units: Mapping[str, Unit], _x: Tensor, _y: Tensor | None, generator: torch.Generator
) -> dict[str, float]:
    """Return scores drawn evenly from [0, 1): the control that the others have to beat."""
    drawn = torch.rand(len(units), generator=generator).tolist()
    return dict(zip(units, drawn, strict=True))


BLOCK_CRITERIA: Final[Mapping[BlockCriterionName, BlockCriterion]] = MappingProxyType(
    {"influence": influence, "change": change, "loss": loss, "random": random}
)
"""Criterion of whole blocks by the name it has in a spec."""


def _mean_over_vectors(
    model: nn.Module, units: Mapping[str, Unit], x: Tensor, measure: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    """Return name -> mean of ``measure(before, after)`` (n, d), (n, d) -> (n,)."""
    totals, counts = dict.fromkeys(units, 0.0), dict.fromkeys(units, 0)
    entered: dict[str, Tensor] = {}

    def enter(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            entered[name] = args[0]

        return hook

    def leave(name: str, stays: nn.Module) -> Any:
        def hook(_module: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> None:
            values = measure(_vectors(stays(entered.pop(name))), _vectors(output)).double()
            totals[name] += float(values.sum())
            counts[name] += len(values)

        return hook

    handles = []
    for name, unit in units.items():
        handles.append(model.get_submodule(unit.members[0]).register_forward_pre_hook(enter(name)))
        handles.append(model.get_submodule(unit.members[-1]).register_forward_hook(leave(name, unit.stays.eval())))
    try:
        with at_rest(model), torch.no_grad():
            for batch in torch.split(x, BATCH):
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: totals[name] / counts[name] for name in units}


def _vectors(values: Tensor) -> Tensor:
    """Return one row per token of (n, length, width), else one per sample."""
    return values.flatten(0, 1) if values.dim() == 3 else values.flatten(1)


def _loss_without(model: nn.Module, unit: Unit, x: Tensor, y: Tensor) -> float:
    kept = [model.get_submodule(member) for member in unit.members]
    unit.remove_(model)
    total = 0.0
    try:
        with at_rest(model), torch.no_grad():
            for samples, labels in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True):
                total += float(F.cross_entropy(model(samples), labels, reduction="sum"))
    finally:
        unit.put_back_(model, kept)
    return total / len(x)
