"""How much each layer's rounding harms the network: change of its answers, or curvature of its loss."""

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgefleet_compression.criteria.gradients import gradients_of, labelled_samples
from edgefleet_compression.criteria.scene import Scene
from edgefleet_compression.evaluate import predict_logits
from edgefleet_compression.passes.specs import BitChoice, WeightFormat
from edgefleet_compression.quantization.modules import quantize_layer, rounded

Harm = dict[str, dict[BitChoice, float]]
"""Layer -> bits -> harm, larger is worse."""

HESSIAN_SAMPLES: Final = 128
N_PROBES: Final = 16
"""Random vectors of Hutchinson's estimate; the error of the estimate falls with the root of their number."""


def divergence_of_outputs(
    network: fx.GraphModule, weights: WeightFormat, choices: Sequence[BitChoice], samples: Tensor
) -> Harm:
    """Return the mean KL divergence (nats) of the class probabilities when one layer alone is rounded."""
    wanted = F.log_softmax(predict_logits(network, samples), dim=1)
    trial = copy.deepcopy(network)
    found: Harm = {}
    for name, layer in weighted_layers(trial).items():
        kept = layer.weight.detach().clone()
        found[name] = {}
        for bits in choices:
            with torch.no_grad():
                layer.weight.copy_(_rounded_at(layer, weights, bits))
                answers = F.log_softmax(predict_logits(trial, samples), dim=1)
                layer.weight.copy_(kept)
            found[name][bits] = max(0.0, float(F.kl_div(answers, wanted, log_target=True, reduction="batchmean")))
    return found


def curvature(network: fx.GraphModule, weights: WeightFormat, choices: Sequence[BitChoice], scene: Scene) -> Harm:
    """Return mean Hessian eigenvalue times squared rounding error (HAWQ-V2, Dong et al. 2020, arXiv:1911.03852).

    Raises PassRefused ``criterion_needs_data`` without labelled training samples.
    """
    layers = weighted_layers(network)
    traces = hessian_traces({name: layer.weight for name, layer in layers.items()}, scene)
    found: Harm = {}
    for name, layer in layers.items():
        mean = max(0.0, traces[name]) / layer.weight.numel()
        weight = layer.weight.detach()
        errors = {bits: float((_rounded_at(layer, weights, bits) - weight).square().sum()) for bits in choices}
        found[name] = {bits: mean * error for bits, error in errors.items()}
    return found


def hessian_traces(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, float]:
    """Return name -> trace of the loss's Hessian of each weight: the mean of v' H v over random signs v (Hutchinson)."""
    samples = labelled_samples(scene, criterion="hessian").first(HESSIAN_SAMPLES)
    scene.model.eval()
    loss = scene.loss(scene.model, samples.x, samples.y, samples.indices)
    gradients = gradients_of(loss, weights, create_graph=True)
    totals = dict.fromkeys(weights, 0.0)
    for _ in range(N_PROBES):
        signs = {name: _random_signs(weight, scene.generator) for name, weight in weights.items()}
        slope = torch.stack([(gradients[name] * signs[name]).sum() for name in weights]).sum()
        for name, product in gradients_of(slope, weights, retain_graph=True).items():
            totals[name] += float((product * signs[name]).sum())
    return {name: total / N_PROBES for name, total in totals.items()}


def weighted_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return name -> layer of every layer whose weights can be rounded."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def _rounded_at(layer: nn.Conv2d | nn.Linear, weights: WeightFormat, bits: BitChoice) -> Tensor:
    trial = quantize_layer(layer, weights.model_copy(update={"bits": bits}))
    with torch.no_grad():
        return rounded(trial, trial.weight_scale)


def _random_signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, weight.shape, generator=generator).to(weight.dtype) * 2 - 1
