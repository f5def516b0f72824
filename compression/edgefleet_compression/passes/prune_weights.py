"""Set weights to zero after training, by a criterion or by a layer-wise solver that moves the others."""

from collections.abc import Collection
from typing import Any, Final

import torch
from torch import Tensor, nn

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.context import Context
from edgefleet_compression.criteria import Scene, score_weights
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import example_input
from edgefleet_compression.layers import output_layers, read_layers
from edgefleet_compression.layerwise_solver import InputMoments, prune_rows
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import PruneWeights
from edgefleet_compression.quantization.calibration import calibration_samples
from edgefleet_compression.records import Skip
from edgefleet_compression.schedules import CURVES
from edgefleet_compression.structure import Structure
from edgefleet_compression.training.batchnorm import reestimate_batchnorm_
from edgefleet_compression.training.masks import Masks, make_masks
from edgefleet_compression.training.sparsify import weights_of

BATCH: Final = 64


@apply.register
def _(spec: PruneWeights, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _prune(spec, model, structure, context))


def _prune(spec: PruneWeights, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="prune_after_quantize")
    model.eval()
    spared = output_layers(read_layers(model), structure.task.n_classes) if spec.structure == "filters" else []
    skipped = tuple(Skip(layer=name, reason="output layer: one filter per class") for name in spared)
    if spec.solver == "layerwise":
        skipped += _solve_(spec, model, structure, context)
    else:
        _zero_(spec, model, structure, context, spared)
    masked = tuple(name for name in weights_of(model) if name not in {skip.layer for skip in skipped})
    if not masked:
        raise PassRefused("No layer has weights that can be set to zero.", code="nothing_to_prune")
    changed = structure.model_copy(update={"masked": masked})
    return Outcome(model=model, structure=changed, weights_changed=True, skipped=skipped)


def _zero_(
    spec: PruneWeights, model: nn.Module, structure: Structure, context: Context, spared: Collection[str]
) -> None:
    generator = torch.Generator().manual_seed(context.seed)
    scene = Scene(model, example_input(structure.input), context.data, generator)
    masks: Masks = {}
    for step in range(1, spec.rounds + 1):
        amount = CURVES["exponential"](0.0, spec.amount, step / spec.rounds)
        weights = {name: weight for name, weight in weights_of(model).items() if name not in spared}
        scores = score_weights(weights, spec.criterion, scene)
        for name, mask in masks.items():
            scores[name] = scores[name].masked_fill(~mask, -torch.inf)
        masks = make_masks(scores, amount, scope=spec.scope, structure=spec.structure)
        with torch.no_grad():
            for name, mask in masks.items():
                weights[name].mul_(mask)


def _solve_(spec: PruneWeights, model: nn.Module, structure: Structure, context: Context) -> tuple[Skip, ...]:
    """Prune layer after layer, each on the inputs that the layers before it now give it.

    BatchNorm's statistics are made anew on the way: what a pruned layer lacks is scaled back when the pass is over, and layers
    behind it that were fitted to faded inputs would be fitted to the wrong ones.
    """
    if context.data is None:
        raise PassRefused(
            "The layerwise solver needs training samples: give the model a data set, or set solver to none.",
            code="criterion_needs_data",
        )
    samples = calibration_samples(context.data, structure.input, n_samples=spec.n_samples, seed=context.seed)
    skipped: list[Skip] = []
    names = list(weights_of(model))
    for index, name in enumerate(names):
        context.emit(index / len(names), f"layer {name}")
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.padding_mode != "zeros"):
            skipped.append(
                Skip(layer=name, reason="grouped or padded otherwise than with zeros: the solver has no form for it")
            )
            continue
        reestimate_batchnorm_(model, samples, augmentation="none", seed=context.seed)
        moments = _observe(model.eval(), layer, samples)
        with torch.no_grad():
            pruned = prune_rows(layer.weight.flatten(1), moments.hessian(), spec.amount, spec.structure)
            layer.weight.copy_(pruned.view_as(layer.weight))
    return tuple(skipped)


def _observe(model: nn.Module, layer: nn.Conv2d | nn.Linear, samples: Tensor) -> InputMoments:
    moments = InputMoments(layer)

    def note(_module: nn.Module, args: tuple[Any, ...]) -> None:
        moments.add(args[0])

    handle = layer.register_forward_pre_hook(note)
    try:
        with torch.no_grad():
            for batch in torch.split(samples, BATCH):
                model(batch)
    finally:
        handle.remove()
    return moments
