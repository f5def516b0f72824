"""Post-training quantization. Static activations: scales from calibration samples, which the compiler folds to integers,
last. Other formats: the candidate stays float and says which one the compiler is to write.
"""

import copy
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor, fx, nn

from edgefleet_compression.candidate import Candidate, OnnxCandidate
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.criteria import Scene
from edgefleet_compression.datafree.samples import synthetic_images
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import example_input
from edgefleet_compression.onnx_plan import OnnxQuantization, PlanCalibration
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import Quantize, Synthesis
from edgefleet_compression.quantization.adaround import round_adaptively_
from edgefleet_compression.quantization.allocation import choose_bits, costs_of
from edgefleet_compression.quantization.bias_correction import correct_biases_
from edgefleet_compression.quantization.calibration import calibrate_, calibration_samples
from edgefleet_compression.quantization.equalization import equalize_
from edgefleet_compression.quantization.graph import fold_batchnorm, insert_fake_quant_, list_points, snap_biases_
from edgefleet_compression.quantization.importance import important_channels
from edgefleet_compression.quantization.modules import (
    channel_bits,
    quantized_layers,
    set_channel_bits_,
    settle_weights_,
)
from edgefleet_compression.quantization.sensitivity import curvature, divergence_of_outputs, weighted_layers
from edgefleet_compression.records import Cost, Skip, StepRecord
from edgefleet_compression.structure import LayerBits, QuantizationPlan, Structure

CALIBRATION_RANDOM: Final = "calibration_random"
"""Note: there was no data set, so ranges were found on random inputs; accuracy can suffer."""

CALIBRATION_SYNTHETIC: Final = "calibration_synthetic"
"""Note: ranges were found on images made from the network's BatchNorm statistics; no data set was looked at."""


@apply.register
def _(spec: Quantize, candidate: Candidate, context: Context) -> Candidate:
    if spec.calibration.source != "train":
        context = replace(context, data=None)
    if isinstance(candidate, OnnxCandidate):
        return _attach_plan(spec, candidate, context)
    return apply_to_torch(spec, candidate, context, lambda model, structure: _quantize(spec, model, structure, context))


def _quantize(spec: Quantize, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="already_quantized")
    plan = QuantizationPlan(
        method="post_training", weights=spec.weights, activations=spec.activations, refined=spec.is_refined
    )
    if not plan.is_simulated:
        return Outcome(model=model, structure=structure.model_copy(update={"quantization": plan}))
    samples, notes = _calibration(spec, model, structure, context)
    network = fold_batchnorm(model)
    skipped = equalize_(network) if spec.equalize else ()
    bits = _choose_bits(spec, network, structure, context, samples)
    graph_module, more = _rounded(spec, network, bits, samples, context)
    changes = {"points": tuple(list_points(graph_module)), "layer_bits": bits.of_layers}
    return Outcome(
        model=graph_module,
        structure=structure.model_copy(update={"quantization": plan.model_copy(update=changes)}),
        samples=0 if samples is None else len(samples),
        skipped=skipped + more,
        notes=notes,
        metrics=_weight_metrics(graph_module),
    )


def _calibration(
    spec: Quantize, model: nn.Module, structure: Structure, context: Context
) -> tuple[Tensor | None, tuple[str, ...]]:
    """Return the samples that ranges, rounding and sensitivities are found on, and what is worth a note about them."""
    if not spec.uses_samples:
        return None, ()
    known = spec.calibration
    if known.source in ("batchnorm", "generator"):
        synthesis = Synthesis(source=known.source, n_samples=known.n_samples, steps=known.synthesis_steps)
        formats = (spec.weights, spec.activations)
        images = synthetic_images(model, structure, synthesis, formats=formats, seed=context.seed, emit=no_progress)
        return images, (CALIBRATION_SYNTHETIC,)
    samples = calibration_samples(
        context.data, structure.input, n_samples=spec.calibration.n_samples, seed=context.seed
    )
    return samples, (CALIBRATION_RANDOM,) if context.data is None else ()


@dataclass(frozen=True)
class _Bits:
    """Where bits are not the format's: by layer, and by output channel of the hybrid ones."""

    of_layers: dict[str, LayerBits]
    of_channels: dict[str, Tensor]


def _choose_bits(
    spec: Quantize, network: fx.GraphModule, structure: Structure, context: Context, samples: Tensor | None
) -> _Bits:
    scene = Scene(network, example_input(structure.input), context.data, torch.Generator().manual_seed(context.seed))
    if spec.hybrid is not None:
        channels = important_channels(network, spec.hybrid, scene)
        return _Bits(dict.fromkeys(channels, "hybrid"), channels)
    wanted = spec.allocation
    if wanted is None or samples is None:
        return _Bits({}, {})
    if wanted.sensitivity == "hessian":
        harm = curvature(network, spec.weights, wanted.choices, scene)
    else:
        harm = divergence_of_outputs(network, spec.weights, wanted.choices, samples)
    layers = {name: (layer.weight.numel(), len(layer.weight)) for name, layer in weighted_layers(network).items()}
    return _Bits({**choose_bits(harm, costs_of(wanted, layers), wanted.budget)}, {})


def _rounded(
    spec: Quantize, network: fx.GraphModule, bits: _Bits, samples: Tensor | None, context: Context
) -> tuple[fx.GraphModule, tuple[Skip, ...]]:
    """Return the folded float network with fake-quant, its weights on their grid."""
    graph_module = copy.deepcopy(network)
    skipped = insert_fake_quant_(graph_module, spec.weights, spec.activations, bits.of_layers)
    layers = quantized_layers(graph_module)
    for name, chosen in bits.of_channels.items():
        set_channel_bits_(layers[name], chosen)
    if samples is not None and spec.activations is not None:
        calibrate_(graph_module, samples, spec.calibration)
    if samples is not None and spec.rounding == "adaround":
        round_adaptively_(
            graph_module, network, samples, n_steps=spec.rounding_steps, seed=context.seed, emit=context.emit
        )
    settle_weights_(graph_module)
    if samples is not None and spec.bias_correction:
        skipped += correct_biases_(graph_module, network, samples)
    if spec.activations is not None:
        snap_biases_(graph_module)
    return graph_module, skipped


def _weight_metrics(graph_module: fx.GraphModule) -> dict[str, float]:
    """Return the mean bits per weight, counted before files round 2 and 1 bits up to 4."""
    layers = quantized_layers(graph_module).values()
    bits = sum(float(channel_bits(layer).sum()) * layer.weight[0].numel() for layer in layers)
    return {"mean_weight_bits": bits / sum(layer.weight.numel() for layer in layers)}


def _attach_plan(spec: Quantize, candidate: OnnxCandidate, context: Context) -> OnnxCandidate:
    refuse_graph_in_another_format(candidate)
    _refuse_torch_only(spec)
    stats = count_onnx_stats(candidate.model)
    is_calibrated = spec.precision == "int8"
    source: Literal["train", "random"] = "random" if context.data is None else "train"
    calibration = PlanCalibration(n_samples=spec.calibration.n_samples, source=source, seed=context.seed)
    plan = OnnxQuantization(
        weights=spec.weights, activations=spec.activations, calibration=calibration if is_calibrated else None
    )
    notes = (CALIBRATION_RANDOM,) if is_calibrated and context.data is None else ()
    record = StepRecord(spec=spec, seed=context.seed, cost=Cost(wall_s=0.0), before=stats, after=stats, notes=notes)
    return OnnxCandidate(candidate.model, plan.model_dump(mode="json"), (*candidate.history, record))


def _refuse_torch_only(spec: Quantize) -> None:
    if spec.needs_torch:
        raise PassRefused(
            "An ONNX graph is quantized by the compiler's own tool: weights of 8 or 4 bits with a peak scale per channel, "
            "asymmetric 8 bit activations, observer minmax, nearest rounding. Leave the other fields at their "
            "defaults, or give the network as safetensors.",
            code="needs_torch_model",
            detail={"kind": spec.kind},
        )


def refuse_graph_in_another_format(candidate: OnnxCandidate) -> None:
    """Raise PassRefused ``already_quantized`` unless the person's graph is a float32 one without a plan."""
    if candidate.traits.precision != "fp32":
        raise PassRefused(
            f"The ONNX graph is {candidate.traits.precision} already: compress it with the baseline recipe, or give the "
            "float model.",
            code="already_quantized",
        )
