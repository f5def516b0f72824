"""Remove channels. Torch-Pruning finds which layers belong together (DepGraph, Fang et al. 2023, arXiv:2301.12900);
scores, ranking and channel counts are our own, so that every criterion works and no layer is emptied. Of transformer
encoders, whole attention heads and feed-forward neurons go (``encoder_groups``).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch
import torch_pruning as tp
from torch import Tensor, nn

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.context import Context
from edgefleet_compression.criteria import Scene, score_weights
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import example_input
from edgefleet_compression.layers import output_layers, read_layers
from edgefleet_compression.models.onnx_graph import OnnxGraph
from edgefleet_compression.models.transformer import EncoderLayer
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.encoder_groups import encoder_groups
from edgefleet_compression.passes.specs import DEFAULT_ROUND_TO, PrunableStructure, StructuredPrune
from edgefleet_compression.records import LayerChange, Skip
from edgefleet_compression.structure import LayerShape, Structure
from edgefleet_compression.training.sparsify import weights_of

OUTPUT_LAYER: Final = "output layer: one channel per class"


@apply.register
def _(spec: StructuredPrune, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _prune(spec, model, structure, context))


@dataclass(frozen=True)
class _Group:
    """Layers that lose the same channels (or heads) together, named by the layer that is their root."""

    root: str
    members: tuple[str, ...]
    producers: tuple[str, ...]
    """Those that make the channels; the others take them."""
    scores: Tensor
    """One score per channel, larger = keep; mean 1, so that groups compare under one global ranking."""
    structure: PrunableStructure
    remove_: Callable[[list[int]], None]
    """Remove these channels from the network, in place."""
    round_to: int
    min_channels: int


def kept_channels(n: int, *, n_wanted: float, round_to: int, min_channels: int) -> int:
    """Return how many of ``n`` channels stay: about ``n_wanted``, a multiple of ``round_to`` where one fits.

    Where fewer than two of them fit, a multiple of its half, quarter and so on, down to 8. Never below ``min_channels``,
    never above ``n``, never zero.
    """
    floor = min(n, max(1, min_channels))
    while round_to >= 2 * DEFAULT_ROUND_TO and round_to % 2 == 0 and (2 * round_to > n or 2 * n_wanted < round_to):
        round_to //= 2
    rounded = round_to * math.floor(n_wanted / round_to + 0.5)
    wanted = rounded if rounded >= round_to else round(n_wanted)
    return min(n, max(floor, wanted))


def _prune(spec: StructuredPrune, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="prune_after_quantize")
    model.eval()
    before = read_layers(model)
    example = example_input(structure.input, n_samples=2)
    outputs = output_layers(before, structure.task.n_classes)
    scene = Scene(model, example[:1], context.data, _generator(context))
    scores = score_weights(weights_of(model), spec.criterion, scene)
    if any(isinstance(module, EncoderLayer) for module in model.modules()):
        every, skipped = _encoder_groups(spec, model, outputs, scores)
    else:
        every, skipped = _channel_groups(spec, model, example, outputs, scores)
    if spec.criterion == "random" and spec.scope == "global":
        every = [_drawn(group, scene.generator) for group in every]
    groups = [group for group in every if group.structure in spec.structures]
    skipped += _not_asked_for(spec, every)
    _refuse_unknown_layers(spec, groups)
    kept = _kept_per_group(spec, groups)
    for group in groups:
        skipped += _prune_group_(group, kept[group.root])
    for parameter in model.parameters():
        parameter.grad = None
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)  # as a restored file has it
    after = read_layers(model)
    changes = _changes(before, after)
    if not changes:
        raise PassRefused(
            f"Nothing can be pruned: every layer is at its minimum (min_channels {spec.min_channels}, round_to "
            f"{spec.multiple}) or is an output. Lower one of the two or choose another pass.",
            code="nothing_to_prune",
            detail={"skipped": [item.model_dump() for item in skipped]},
        )
    return Outcome(
        model=model,
        structure=structure.model_copy(update={"layers": after}),
        weights_changed=True,
        changes=changes,
        skipped=tuple(skipped),
    )


def _drawn(group: _Group, generator: torch.Generator) -> _Group:
    """Return the group with one draw for each channel: a sum of many is near its mean, and wide channels would never go first."""
    return replace(group, scores=torch.rand(len(group.scores), generator=generator))


def _not_asked_for(spec: StructuredPrune, groups: Sequence[_Group]) -> list[Skip]:
    left = (group for group in groups if group.structure not in spec.structures)
    return [Skip(layer=name, reason=f"structures has no {group.structure}") for group in left for name in group.members]


def _generator(context: Context) -> torch.Generator:
    return torch.Generator().manual_seed(context.seed)


def _encoder_groups(
    spec: StructuredPrune, model: nn.Module, outputs: Sequence[str], scores: Mapping[str, Tensor]
) -> tuple[list[_Group], list[Skip]]:
    found, skipped = encoder_groups(model)
    groups = [
        _Group(
            root=group.root,
            members=(*group.producers, group.consumer),
            producers=tuple(group.producers),
            scores=_with_mean_one(group.unit_scores(scores)),
            structure="heads" if group.kind == "heads" else "feed_forward",
            remove_=partial(group.remove_, model),
            round_to=1 if group.kind == "heads" else spec.multiple,
            min_channels=1 if group.kind == "heads" else spec.min_channels,
        )
        for group in found
    ]
    skipped += [Skip(layer=name, reason=OUTPUT_LAYER) for name in outputs]
    touched = {name for group in groups for name in group.members} | {skip.layer for skip in skipped}
    reason = "keeps the residual width, which every layer and LayerNorm shares"
    return groups, skipped + [Skip(layer=name, reason=reason) for name in scores if name not in touched]


def _channel_groups(
    spec: StructuredPrune, model: nn.Module, example: Tensor, outputs: Sequence[str], scores: Mapping[str, Tensor]
) -> tuple[list[_Group], list[Skip]]:
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    names = {module: name for name, module in model.named_modules()}
    skipped = [Skip(layer=name, reason=OUTPUT_LAYER) for name in outputs]
    ignored = [model.get_submodule(name) for name in outputs]
    pinned = model.pinned_layers() if isinstance(model, OnnxGraph) else frozenset()
    groups: list[_Group] = []
    for group in graph.get_all_groups(ignored_layers=ignored, root_module_types=[nn.Conv2d, nn.Linear]):
        layers = {names[dep.layer]: dep.layer for dep, _ in group if dep.layer in names}
        grouped = [
            name
            for name, layer in layers.items()
            if isinstance(layer, nn.Conv2d) and 1 < layer.groups < layer.out_channels
        ]
        root = names[group[0].dep.layer]
        producers = tuple(names[item.dep.layer] for item in group if _makes(item) and item.dep.layer in names)
        fixed = [name for name in producers if name in pinned]
        if fixed:
            skipped.append(Skip(layer=root, reason=f"the graph counts on the number of channels of {fixed[0]}"))
            continue
        if grouped:
            skipped.append(Skip(layer=root, reason=f"belongs together with grouped convolution {grouped[0]}"))
            continue
        groups.append(
            _Group(
                root=root,
                members=tuple(layers),
                producers=producers,
                scores=_with_mean_one(_channel_scores(group, names, scores)),
                structure="channels" if isinstance(layers[root], nn.Conv2d) else "neurons",
                remove_=partial(_remove_channels_, graph, layers[root]),
                round_to=spec.multiple,
                min_channels=spec.min_channels,
            )
        )
    return groups, skipped


def _remove_channels_(graph: Any, root: nn.Module, doomed: list[int]) -> None:
    edit = tp.prune_conv_out_channels if isinstance(root, nn.Conv2d) else tp.prune_linear_out_channels
    graph.get_pruning_group(root, edit, idxs=doomed).prune()


def _makes(item: Any) -> bool:
    """True for a group's item whose layer produces the group's channels, rather than takes them."""
    makers = (tp.prune_conv_out_channels, tp.prune_linear_out_channels, tp.prune_depthwise_conv_out_channels)
    return item.dep.handler in makers


def _channel_scores(group: Any, names: Mapping[nn.Module, str], scores: Mapping[str, Tensor]) -> Tensor:
    """Sum the weights' scores over every layer that produces the group's channels."""
    n_channels = len(group[0].idxs)
    total = torch.zeros(n_channels)
    for item in group:
        name = names.get(item.dep.layer)
        if name is None or name not in scores or not _makes(item):
            continue
        per_channel = scores[name].flatten(1).sum(dim=1)
        total.index_add_(0, torch.tensor(item.root_idxs), per_channel[torch.tensor(item.idxs)])
    return total


def _with_mean_one(scores: Tensor) -> Tensor:
    mean = scores.abs().mean()
    return scores / mean if mean > 0 else scores


def _amount(spec: StructuredPrune, group: _Group) -> float:
    own = [spec.amounts[name] for name in group.producers if name in spec.amounts]
    return min(own, default=spec.amount)


def _refuse_unknown_layers(spec: StructuredPrune, groups: Sequence[_Group]) -> None:
    unknown = sorted(set(spec.amounts) - {name for group in groups for name in group.members})
    if unknown:
        raise PassRefused(
            f"amounts names {unknown[0]}, which is no layer whose channels can go: correct the name, or leave it out.",
            code="layer_unknown",
            detail={"layers": unknown[:100]},
        )


def _kept_per_group(spec: StructuredPrune, groups: Sequence[_Group]) -> dict[str, int]:
    """Return root -> number of channels to keep."""
    if spec.scope == "layer":
        wanted = {group.root: len(group.scores) * (1.0 - _amount(spec, group)) for group in groups}
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
            len(group.scores), n_wanted=wanted[group.root], round_to=group.round_to, min_channels=group.min_channels
        )
        for group in groups
    }


def _prune_group_(group: _Group, n_kept: int) -> list[Skip]:
    n_pruned = len(group.scores) - n_kept
    if n_pruned == 0:
        reason = f"keeps its {n_kept} channels: min_channels {group.min_channels}, round_to {group.round_to}"
        return [Skip(layer=name, reason=reason) for name in group.members]
    group.remove_(torch.argsort(group.scores, stable=True)[:n_pruned].sort().values.tolist())
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
