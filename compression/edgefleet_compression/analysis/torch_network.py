"""What a network looks like before compression: where its size and work are, what each layer can lose, what to expect."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.child import Emit
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.data.dataset import DataSet, Split, require_labels
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import evaluate, example_input
from edgefleet_compression.passes.dispatch import apply
from edgefleet_compression.passes.specs import StructuredPrune, Train, WeightFormat
from edgefleet_compression.passes.train import build_student
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.quantization.grids import per_row, round_to_grid, weight_scales
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.stats import count_macs, count_parameters
from edgefleet_compression.training.masks import make_masks
from edgefleet_compression.training.sparsify import weights_of

FLOAT_BYTES: Final = 4
ENERGY: Final = 0.9
"""Share of the squared singular values whose number counts as a layer's rank."""
SHARES: Final = (0.25, 0.5, 0.75)
BITS: Final = (8, 4, 2)
SENSITIVITY_SAMPLES: Final = 512
WEIGHT_BITS: Final[Mapping[str, int]] = {
    "fp32": 32,
    "fp16": 16,
    "int8": 8,
    "int8-dynamic": 8,
    "int8-weights": 8,
    "int4-weights": 4,
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerAnalysis(_Part):
    """One convolution or linear layer."""

    name: str
    kind: str
    n_parameters: int
    macs: int = Field(description="Multiply-accumulates for one sample, from the shapes of weight and output.")
    activation_bytes: int = Field(description="float32 output for one sample.")
    energy_rank_ratio: float = Field(
        description="Singular values that hold 90 % of the energy of the weight matrix, over all: low is redundant."
    )
    prune_losses: dict[str, float] = Field(
        default_factory=dict, description="Share of this layer's smallest weights set to zero -> validation loss."
    )
    bits_losses: dict[str, float] = Field(
        default_factory=dict, description="Bits of this layer's weights, a scale per channel -> validation loss."
    )


class Analysis(_Part):
    """A network before compression. MAC: one multiply and one add; FLOP counts (two per MAC) appear nowhere."""

    n_parameters: int
    macs: int = Field(description="By torch's counter of operators (flop_counter), divided by its two per MAC.")
    macs_by_layers: int = Field(
        description="Sum over the layers, from shapes alone: an independent count. Attention's products are not layers."
    )
    peak_activation_bytes: int = Field(description="Largest output of a layer, float32, one sample.")
    baseline_loss: float | None = Field(description="On up to 512 validation samples; null without data.")
    layers: tuple[LayerAnalysis, ...]
    expected_bytes: dict[str, int | None] = Field(
        description="Preset -> bytes of its parameters, BatchNorm folded; the graph's own bytes come on top. null: refused."
    )


def analyze(
    candidate: TorchCandidate, data: DataSet | None = None, *, seed: int = 0, emit: Emit = no_progress
) -> Analysis:
    """Return the analysis; sensitivities need labelled data and are left out without. The candidate stays as it is.

    Raises PassRefused ``already_quantized``.
    """
    if candidate.structure.precision != "fp32":
        raise PassRefused(
            f"The candidate is {candidate.structure.precision} already: analyse the float model.",
            code="already_quantized",
        )
    model = copy.deepcopy(candidate.model).eval()
    outputs = _output_sizes(model, example_input(candidate.structure.input))
    split = None if data is None or not data.has_labels else _validation(candidate, data)
    layers = []
    names = list(weights_of(model))
    for index, name in enumerate(names):
        emit(index / max(1, len(names)), f"layer {name}")
        layers.append(_analyze_layer(model, name, outputs.get(name, 0), split))
    dtype = example_input(candidate.structure.input).dtype
    return Analysis(
        n_parameters=count_parameters(model),
        macs=count_macs(model, candidate.structure.input.shape, dtype),
        macs_by_layers=sum(layer.macs for layer in layers),
        peak_activation_bytes=max((layer.activation_bytes for layer in layers), default=0),
        baseline_loss=None if split is None else evaluate(model, split).loss,
        layers=tuple(layers),
        expected_bytes={name: expected_bytes(candidate, recipe, seed=seed) for name, recipe in PRESETS.items()},
    )


def expected_bytes(candidate: TorchCandidate, recipe: Recipe, *, seed: int = 0) -> int | None:
    """Return the bytes of the parameters that the recipe will leave; None where a pass refuses this network.

    Structure is changed for real, by the recipe's own pruning pass with scores by chance; nothing is trained.
    """
    current = candidate
    try:
        for spec in recipe.passes:
            if isinstance(spec, StructuredPrune):
                made = apply(spec.model_copy(update={"criterion": "random"}), current, Context(None, seed))
                assert isinstance(made, TorchCandidate)
                current = made
            elif isinstance(spec, Train) and spec.student is not None:
                current = TorchCandidate(*build_student(spec.student, current.structure, seed=seed))
    except PassRefused:
        return None
    return _parameter_bytes(current.model, WEIGHT_BITS[recipe.precision or "fp32"])


def _parameter_bytes(model: nn.Module, bits: int) -> int:
    """Return weights at their bits, biases (one per output channel, after folding) and scales at 4 bytes, the rest fp32."""
    weights = weights_of(model)
    n_weights = sum(weight.numel() for weight in weights.values())
    n_channels = sum(len(weight) for weight in weights.values())
    norms = (nn.BatchNorm2d, nn.Conv2d, nn.Linear)
    others = sum(
        parameter.numel()
        for module in model.modules()
        if not isinstance(module, norms)
        for parameter in module.parameters(recurse=False)
    )
    if bits >= 16:
        return (n_weights + n_channels + others) * bits // 8
    return n_weights * bits // 8 + 2 * n_channels * FLOAT_BYTES + others * FLOAT_BYTES


def _analyze_layer(model: nn.Module, name: str, n_outputs: int, split: Split | None) -> LayerAnalysis:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    weight = layer.weight.detach()
    return LayerAnalysis(
        name=name,
        kind="conv2d" if isinstance(layer, nn.Conv2d) else "linear",
        n_parameters=count_parameters(layer),
        macs=n_outputs * weight[0].numel(),
        activation_bytes=n_outputs * FLOAT_BYTES,
        energy_rank_ratio=energy_rank_ratio(weight),
        prune_losses={}
        if split is None
        else _losses(model, layer, split, {str(s): _pruned(weight, s) for s in SHARES}),
        bits_losses={} if split is None else _losses(model, layer, split, {str(b): _rounded(weight, b) for b in BITS}),
    )


def energy_rank_ratio(weight: Tensor) -> float:
    """Return the share of singular values that hold 90 % of the squared sum. weight: (out, ...), taken as (out, rest)."""
    values = torch.linalg.svdvals(weight.flatten(1).double()).square()
    if float(values.sum()) == 0.0:
        return 0.0
    n_needed = int((values.cumsum(0) < ENERGY * values.sum()).sum()) + 1
    return n_needed / len(values)


def _losses(
    model: nn.Module, layer: nn.Conv2d | nn.Linear, split: Split, variants: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return name -> loss with the layer's weight replaced; the layer is as before afterwards."""
    kept = layer.weight.detach().clone()
    found = {}
    try:
        for name, weight in variants.items():
            with torch.no_grad():
                layer.weight.copy_(weight)
            found[name] = evaluate(model, split).loss
    finally:
        with torch.no_grad():
            layer.weight.copy_(kept)
    return found


def _pruned(weight: Tensor, share: float) -> Tensor:
    return weight * make_masks({"w": weight.abs()}, share, scope="layer", structure="weights")["w"]


def _rounded(weight: Tensor, bits: int) -> Tensor:
    weights = WeightFormat.model_validate({"bits": bits})
    return round_to_grid(weight, per_row(weight_scales(weight, weights), weight), weights.largest)


def _output_sizes(model: nn.Module, example: Tensor) -> dict[str, int]:
    """Return layer name -> numbers in its output for one sample."""
    sizes: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _args: Sequence[Any], output: Tensor) -> None:
            sizes[name] = output.numel()

        return hook

    handles: list[RemovableHandle] = [
        model.get_submodule(name).register_forward_hook(note(name)) for name in weights_of(model)
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return sizes


def _validation(candidate: TorchCandidate, data: DataSet) -> Split:
    split = fit_to(candidate.structure, require_labels(data, "analyze")).validation
    return split.take(torch.arange(min(len(split), SENSITIVITY_SAMPLES)).numpy())
