"""Remove whole blocks: residual blocks, inverted residuals, encoder layers, or layers of plain stacks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.context import Context
from edgefleet_compression.criteria.blocks import BLOCK_CRITERIA
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import as_tensor, example_input
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.blocks import Block, Unit, find_units
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import RemoveBlocks
from edgefleet_compression.records import Skip
from edgefleet_compression.structure import Structure


@apply.register
def _(spec: RemoveBlocks, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _remove(spec, model, structure, context))


def _remove(spec: RemoveBlocks, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="prune_after_quantize")
    every = find_units(model)
    removable, skipped = _sorted_out(spec, model, every, example_input(structure.input))
    n_blocks = sum(isinstance(module, Block) for module in model.modules()) or len(every)
    n_wanted = _count(spec, min(len(removable), n_blocks - 1), skipped)
    samples = _samples(spec, structure, context)
    generator = torch.Generator().manual_seed(context.seed)
    removed: list[str] = []
    metrics: dict[str, float] = {}
    scores: dict[str, float] = {}
    while len(removed) < n_wanted:
        context.emit(len(removed) / n_wanted, f"removed {len(removed)} of {n_wanted} blocks")
        if spec.rescore or not removed:
            scores = BLOCK_CRITERIA[spec.criterion](model, removable, *samples, generator)
        name = min(removable, key=lambda unit: scores[unit])
        metrics[f"score.{name}"] = scores[name]
        removable.pop(name).remove_(model)
        removed.append(name)
    return Outcome(
        model=model,
        structure=_shallower(structure, model, removed),
        weights_changed=True,
        removed=tuple(removed),
        skipped=tuple(skipped),
        metrics=metrics,
    )


def _shallower(structure: Structure, model: nn.Module, removed: list[str]) -> Structure:
    """Return the structure without what went: neither it nor layers inside of it are recorded any more."""
    present = {name for name, _ in model.named_modules()} - set(removed)
    changes = {
        "removed": (*structure.removed, *removed),
        "layers": read_layers(model),
        "factorised": {name: form for name, form in structure.factorised.items() if name in present},
        "masked": tuple(name for name in structure.masked if name in present),
    }
    return structure.model_copy(update=changes)


def _sorted_out(
    spec: RemoveBlocks, model: nn.Module, units: Mapping[str, Unit], example: Tensor
) -> tuple[dict[str, Unit], list[Skip]]:
    """Return the units that the spec lets go, and the others with the reason."""
    removable: dict[str, Unit] = {}
    skipped: list[Skip] = []
    for name, unit in units.items():
        reason = _obstacle(spec, unit)
        if reason is None and unit.kind == "plain" and not _keeps_shape(model, unit, example):
            reason = "its output has another shape than its input"
        if reason is None:
            removable[name] = unit
        else:
            skipped.append(Skip(layer=name, reason=reason))
    return removable, skipped


def _obstacle(spec: RemoveBlocks, unit: Unit) -> str | None:
    if unit.kind == "projection" and spec.shortcuts == "identity":
        return 'it changes the shape: only with "shortcuts": "any"'
    if unit.kind == "plain" and not spec.plain_layers:
        return 'it has no shortcut: only with "plain_layers": true'
    return None


def _keeps_shape(model: nn.Module, unit: Unit, example: Tensor) -> bool:
    shapes: list[torch.Size] = []
    first, last = model.get_submodule(unit.members[0]), model.get_submodule(unit.members[-1])
    handles = [
        first.register_forward_pre_hook(lambda _module, args: shapes.append(args[0].shape)),
        last.register_forward_hook(lambda _module, _args, output: shapes.append(output.shape)),
    ]
    try:
        with torch.no_grad():
            model.eval()(example)
    finally:
        for handle in handles:
            handle.remove()
    return shapes[0] == shapes[1]


def _count(spec: RemoveBlocks, n_removable: int, skipped: list[Skip]) -> int:
    """Return how many to remove of those that can go; PassRefused ``nothing_to_remove`` or ``too_many_blocks``."""
    detail = {"n_removable": n_removable, "skipped": [item.model_dump() for item in skipped]}
    if n_removable <= 0:
        raise PassRefused(
            "The network has no block that can go: residual blocks that keep the shape, encoder layers, and with shortcuts any "
            "or plain_layers also others. Choose structured_prune instead.",
            code="nothing_to_remove",
            detail=detail,
        )
    n_wanted = spec.n_blocks if spec.n_blocks is not None else max(1, round((spec.share or 0.0) * n_removable))
    if n_wanted > n_removable:
        raise PassRefused(
            f"{n_wanted} blocks are to be removed, and {n_removable} can go (one always stays): ask for at most {n_removable}.",
            code="too_many_blocks",
            detail={**detail, "n_wanted": n_wanted},
        )
    return n_wanted


def _samples(spec: RemoveBlocks, structure: Structure, context: Context) -> tuple[Tensor, Tensor | None]:
    """Return training samples (n, ...) drawn by the seed, and their labels where the criterion asks for them."""
    if spec.criterion == "random":
        return example_input(structure.input), None
    data = context.data
    if data is None or len(data.train) == 0 or (spec.criterion == "loss" and data.train.y is None):
        raise PassRefused(
            f"The criterion {spec.criterion} needs {'labelled ' if spec.criterion == 'loss' else ''}training samples: give "
            "the model a data set, or choose random.",
            code="criterion_needs_data",
            detail={"criterion": spec.criterion},
        )
    train = fit_to(structure, data).train
    generator = torch.Generator().manual_seed(context.seed)
    chosen = train.take(torch.randperm(len(train), generator=generator)[: spec.n_samples].numpy())
    return as_tensor(chosen.x), None if chosen.y is None else torch.from_numpy(chosen.y)
