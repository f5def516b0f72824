"""Remove channels. Torch-Pruning finds which layers belong together (DepGraph, Fang et al. 2023, arXiv:2301.12900);
scores, ranking and channel counts are our own, so that every criterion works and no layer is emptied.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.context import Context
from edgefleet_compression.criteria import Scene, score_weights
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.layers import output_layers, read_layers
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import StructuredPrune
from edgefleet_compression.records import LayerChange, Skip
from edgefleet_compression.structure import LayerShape, Structure
from edgefleet_compression.training.sparsify import weights_of


@apply.register
def _(spec: StructuredPrune, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _prune(spec, model, structure, context))


@dataclass(frozen=True)
class _Group:
    """Layers that lose the same channels together, named by the layer that is their root."""

    root: str
    members: tuple[str, ...]
    scores: Tensor
    """One score per channel, larger = keep; mean 1, so that groups compare under one global ranking."""


def kept_channels(n: int, *, n_wanted: float, round_to: int, min_channels: int) -> int:
    """Return how many of ``n`` channels stay: about ``n_wanted``, a multiple of ``round_to`` where one fits.

    Never below ``min_channels``, never above ``n``, never zero.
    """
    floor = min(n, max(1, min_channels))
    rounded = round_to * math.floor(n_wanted / round_to + 0.5)
    wanted = rounded if rounded >= round_to else round(n_wanted)
    return min(n, max(floor, wanted))


def _prune(spec: StructuredPrune, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="prune_after_quantize")
    model.eval()
    before = read_layers(model)
    example = torch.zeros(2, *structure.input.shape)
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    outputs = output_layers(before, structure.task.n_classes)
    groups, skipped = _scored_groups(spec, graph, outputs, Scene(model, example[:1], context.data, _generator(context)))
    kept = _kept_per_group(spec, groups)
    for group in groups:
        skipped += _prune_group_(model, graph, group, kept[group.root], spec)
    for parameter in model.parameters():
        parameter.grad = None
    after = read_layers(model)
    changes = _changes(before, after)
    if not changes:
        raise PassRefused(
            f"Nothing can be pruned: every layer is at its minimum (min_channels {spec.min_channels}, round_to "
            f"{spec.round_to}) or is an output. Lower one of the two or choose another pass.",
            code="nothing_to_prune",
            detail={"skipped": [item.model_dump() for item in skipped]},
        )
    return Outcome(
        model=model,
        structure=structure.model_copy(update={"layers": after}),
        changes=changes,
        skipped=tuple(skipped),
    )


def _generator(context: Context) -> torch.Generator:
    return torch.Generator().manual_seed(context.seed)


def _scored_groups(
    spec: StructuredPrune, graph: Any, outputs: Sequence[str], scene: Scene
) -> tuple[list[_Group], list[Skip]]:
    model = scene.model
    names = {module: name for name, module in model.named_modules()}
    scores = score_weights(weights_of(model), spec.criterion, scene)
    skipped = [Skip(layer=name, reason="output layer: one channel per class") for name in outputs]
    ignored = [model.get_submodule(name) for name in outputs]
    groups: list[_Group] = []
    for group in graph.get_all_groups(ignored_layers=ignored, root_module_types=[nn.Conv2d, nn.Linear]):
        layers = {names[dep.layer]: dep.layer for dep, _ in group if dep.layer in names}
        grouped = [
            name
            for name, layer in layers.items()
            if isinstance(layer, nn.Conv2d) and 1 < layer.groups < layer.out_channels
        ]
        root = names[group[0].dep.layer]
        if grouped:
            skipped.append(Skip(layer=root, reason=f"belongs together with grouped convolution {grouped[0]}"))
            continue
        groups.append(_Group(root, tuple(layers), _channel_scores(group, names, scores)))
    return groups, skipped


def _channel_scores(group: Any, names: Mapping[nn.Module, str], scores: Mapping[str, Tensor]) -> Tensor:
    """Sum the weights' scores over every layer that produces the group's channels."""
    n_channels = len(group[0].idxs)
    total = torch.zeros(n_channels)
    makers = (tp.prune_conv_out_channels, tp.prune_linear_out_channels, tp.prune_depthwise_conv_out_channels)
    for item in group:
        name = names.get(item.dep.layer)
        if name is None or name not in scores or item.dep.handler not in makers:
            continue
        per_channel = scores[name].flatten(1).sum(dim=1)
        total.index_add_(0, torch.tensor(item.root_idxs), per_channel[torch.tensor(item.idxs)])
    mean = total.abs().mean()
    return total / mean if mean > 0 else total


def _kept_per_group(spec: StructuredPrune, groups: Sequence[_Group]) -> dict[str, int]:
    """Return root -> number of channels to keep."""
    if spec.scope == "layer":
        wanted = {group.root: len(group.scores) * (1.0 - spec.amount) for group in groups}
    else:
        every = torch.cat([group.scores for group in groups]) if groups else torch.zeros(0)
        n_pruned = round(spec.amount * every.numel())
        doomed = torch.zeros(every.numel())
        doomed[torch.argsort(every, stable=True)[:n_pruned]] = 1.0
        pieces = torch.split(doomed, [len(group.scores) for group in groups]) if groups else ()
        wanted = {
            group.root: len(group.scores) - float(piece.sum()) for group, piece in zip(groups, pieces, strict=True)
        }
    return {
        group.root: kept_channels(
            len(group.scores), n_wanted=wanted[group.root], round_to=spec.round_to, min_channels=spec.min_channels
        )
        for group in groups
    }


def _prune_group_(model: nn.Module, graph: Any, group: _Group, n_kept: int, spec: StructuredPrune) -> list[Skip]:
    n_pruned = len(group.scores) - n_kept
    if n_pruned == 0:
        reason = f"keeps its {n_kept} channels: min_channels {spec.min_channels}, round_to {spec.round_to}"
        return [Skip(layer=name, reason=reason) for name in group.members]
    root = model.get_submodule(group.root)
    edit = tp.prune_conv_out_channels if isinstance(root, nn.Conv2d) else tp.prune_linear_out_channels
    doomed = torch.argsort(group.scores, stable=True)[:n_pruned].sort().values.tolist()
    graph.get_pruning_group(root, edit, idxs=doomed).prune()
    return []


def _changes(before: Mapping[str, LayerShape], after: Mapping[str, LayerShape]) -> tuple[LayerChange, ...]:
    return tuple(
        LayerChange(
            layer=name,
            n_in=(before[name].n_in, after[name].n_in),
            n_out=(before[name].n_out, after[name].n_out),
        )
        for name in before
        if before[name] != after[name]
    )
