"""The analysis of a torch network."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from edgefleet_compression.analysis.document import Analysis, Effect, LayerAnalysis
from edgefleet_compression.analysis.expected import expect_size
from edgefleet_compression.analysis.live_memory import peak_activation_bytes
from edgefleet_compression.analysis.redundancy import measure_redundancy
from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.child import Emit
from edgefleet_compression.context import no_progress
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import evaluate, example_input
from edgefleet_compression.passes.specs import WeightFormat
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.quantization.grids import per_row, round_to_grid, weight_scales
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.stats import FLOPS_PER_MAC, count_parameters
from edgefleet_compression.training.masks import make_masks

FLOAT_BYTES: Final = 4
SHARES: Final = (0.25, 0.5, 0.75)
BITS: Final = (8, 4, 2)
SENSITIVITY_SAMPLES: Final = 512

Layer = nn.Conv2d | nn.Linear | nn.Embedding
_KINDS: Final[Mapping[type[nn.Module], str]] = {nn.Conv2d: "conv2d", nn.Linear: "linear", nn.Embedding: "embedding"}


def analyze(
    candidate: TorchCandidate,
    data: DataSet | None = None,
    *,
    recipes: Sequence[Recipe] = tuple(PRESETS.values()),
    n_samples: int = SENSITIVITY_SAMPLES,
    seed: int = 0,
    emit: Emit = no_progress,
) -> Analysis:
    """Return the analysis; sensitivities need labelled data and are left out without. The candidate stays as it is.

    Raises PassRefused ``already_quantized``, DataInvalid for data that do not fit the network.
    """
    if candidate.structure.precision != "fp32":
        raise PassRefused(
            f"The candidate is {candidate.structure.precision} already: analyse the float model.",
            code="already_quantized",
        )
    model = copy.deepcopy(candidate.model).eval()
    reason = "no_data" if data is None else "no_labels"
    split = None if data is None else _validation(candidate, data, n_samples)
    example = example_input(candidate.structure.input)
    outputs = _output_sizes(model, example)
    counted, total = _count_by_operators(model, example)
    layers, weights = [], _layers_of(model)
    for index, (name, layer) in enumerate(weights.items()):
        emit(index / (len(weights) + 1), f"layer {name}")
        layers.append(_analyze_layer(model, name, layer, outputs.get(name, 0), counted.get(name, 0), split))
    emit(len(weights) / (len(weights) + 1), "expected sizes")
    n_weights = sum(layer.weight.numel() for layer in weights.values())
    saved = sum(found.redundant_share * weights[found.name].weight.numel() for found in layers)
    return Analysis(
        form="torch",
        n_parameters=count_parameters(model),
        macs=sum(found.macs or 0 for found in layers),
        macs_by_counter=total,
        peak_activation_bytes=peak_activation_bytes(model, example),
        redundant_share=saved / n_weights if n_weights else 0.0,
        baseline=None if split is None else _effect(model, split),
        n_samples=0 if split is None else len(split),
        layers=tuple(layers),
        expected=tuple(expect_size(candidate, recipe, seed=seed) for recipe in recipes),
        unknown={} if split is not None else dict.fromkeys(("baseline", "pruned", "rounded"), reason),
    )


def _layers_of(model: nn.Module) -> dict[str, Layer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Layer)}


def _analyze_layer(
    model: nn.Module, name: str, layer: Layer, n_outputs: int, counted: int, split: Split | None
) -> LayerAnalysis:
    weight = layer.weight.detach()
    redundancy = measure_redundancy(weight)
    is_table = isinstance(layer, nn.Embedding)
    return LayerAnalysis(
        name=name,
        kind=next(kind for of_type, kind in _KINDS.items() if isinstance(layer, of_type)),
        n_parameters=count_parameters(layer),
        macs=0 if is_table else n_outputs * weight[0].numel(),
        macs_by_counter=counted,
        activation_bytes=n_outputs * FLOAT_BYTES,
        energy_rank_ratio=redundancy.rank_ratio,
        redundant_share=redundancy.share,
        pruned={} if split is None else _effects(model, layer, split, {str(s): _pruned(weight, s) for s in SHARES}),
        rounded={} if split is None else _effects(model, layer, split, {str(b): _rounded(weight, b) for b in BITS}),
    )


def _effect(model: nn.Module, split: Split) -> Effect:
    found = evaluate(model, split)
    return Effect(loss=found.loss, accuracy=found.accuracy)


def _effects(model: nn.Module, layer: Layer, split: Split, variants: Mapping[str, Tensor]) -> dict[str, Effect]:
    """Return name -> answers with the layer's weight replaced; the layer is as before afterwards."""
    kept = layer.weight.detach().clone()
    found = {}
    try:
        for name, weight in variants.items():
            with torch.no_grad():
                layer.weight.copy_(weight)
            found[name] = _effect(model, split)
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
    """Return layer name -> numbers in its outputs for one sample, all calls together."""
    sizes: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _args: Sequence[Any], output: Tensor) -> None:
            sizes[name] = sizes.get(name, 0) + output.numel()

        return hook

    handles: list[RemovableHandle] = [
        layer.register_forward_hook(note(name)) for name, layer in _layers_of(model).items()
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return sizes


def _count_by_operators(model: nn.Module, example: Tensor) -> tuple[dict[str, int], int]:
    """Return layer name -> multiply-accumulates of one sample by torch's counter, and those of the whole network."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(example)
    root = type(model).__name__ + "."
    counts = {
        name.removeprefix(root): sum(operators.values()) // FLOPS_PER_MAC
        for name, operators in counter.get_flop_counts().items()
    }
    return counts, int(counter.get_total_flops()) // FLOPS_PER_MAC


def _validation(candidate: TorchCandidate, data: DataSet, n_samples: int) -> Split | None:
    """Return the first validation samples in the network's form; None without labels."""
    fitted = fit_to(candidate.structure, data)
    split = fitted.validation
    return split.take(torch.arange(min(len(split), n_samples)).numpy()) if data.has_labels and len(split) else None
