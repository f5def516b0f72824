"""The size that a recipe will leave, without training: structure is changed for real, bits are counted."""

from collections.abc import Mapping
from typing import Final

from torch import nn

from edgefleet_compression.analysis.document import ExpectedSize
from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.errors import CompressionError
from edgefleet_compression.passes.dispatch import apply
from edgefleet_compression.passes.specs import Cast, LotteryTicket, PruneWeights, Quantize, Train
from edgefleet_compression.passes.train import build_student
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.stats import count_network, count_parameters
from edgefleet_compression.training.sparsify import weights_of

FLOAT_BITS: Final = 32
SCALE_BYTES: Final = 4
BLOCK: Final = 32
"""Weights that share a scale with granularity block."""
WEIGHT_BITS: Final[Mapping[str, int]] = {
    "fp32": 32,
    "fp16": 16,
    "int8": 8,
    "int8-dynamic": 8,
    "int8-weights": 8,
    "int4-weights": 4,
    "int4": 4,
}
"""As files store them; 2 bits and 1 are stored as 4, but for the target onnxruntime-1.24."""
_KEEP_SHAPES: Final = (Quantize, Cast, PruneWeights, LotteryTicket)
"""Passes that change numbers, not shapes."""


def expect_size(candidate: TorchCandidate, recipe: Recipe, *, seed: int = 0) -> ExpectedSize:
    """Return the size and work of what the recipe will leave; ``reason`` is the code of the pass that refuses.

    Channels to remove are chosen by chance: how many go does not depend on which. Nothing is trained.
    """
    current = candidate
    try:
        for spec in recipe.passes:
            if isinstance(spec, Train):
                if spec.student is not None:
                    current = TorchCandidate(*build_student(spec.student, current.structure, seed=seed))
            elif not isinstance(spec, _KEEP_SHAPES):
                by_chance = {"criterion": "random"} if "criterion" in type(spec).model_fields else {}
                made = apply(spec.model_copy(update=by_chance), current, Context(None, seed))
                assert isinstance(made, TorchCandidate)
                current = made
    except CompressionError as error:
        return ExpectedSize(
            recipe=recipe.name, size_bytes=None, n_parameters=None, macs=None, reason=error.code, message=error.message
        )
    size_bytes = stored_bytes(current.model, recipe)
    return ExpectedSize(
        recipe=recipe.name,
        size_bytes=size_bytes,
        n_parameters=count_parameters(current.model),
        macs=count_network(current.model, current.structure.input).macs,
        reason=None if size_bytes is not None else "bits_chosen_later",
        message=None
        if size_bytes is not None
        else "How many bits each layer gets is worked out while the recipe runs.",
    )


def stored_bytes(model: nn.Module, recipe: Recipe) -> int | None:
    """Return the bytes of the network's parameters in the recipe's number format; None where bits are chosen later."""
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
    return bytes_of_weights(n_weights, n_channels, others, recipe)


def bytes_of_weights(n_weights: int, n_channels: int, n_others: int, recipe: Recipe) -> int | None:
    """Return weights at their bits, a bias for each output channel (it has one after folding), scales, the rest as floats.

    n_weights of convolutions and linear layers with n_channels outputs together, n_others: parameters of other layers.
    """
    bits = WEIGHT_BITS[recipe.precision or "fp32"]
    if bits >= 16:
        return (n_weights + n_channels + n_others) * bits // 8
    mean_bits, n_scales = float(bits), n_channels
    quantize = next((spec for spec in recipe.passes if isinstance(spec, Quantize)), None)
    if quantize is not None:
        if quantize.allocation is not None:
            return quantize.allocation.size_bytes
        if quantize.hybrid is not None:
            mean_bits = 8 * quantize.hybrid.share + 4 * (1 - quantize.hybrid.share)
        if quantize.weights.granularity == "block":
            n_scales = -(-n_weights // BLOCK)
    return int(n_weights * mean_bits / 8) + n_scales * SCALE_BYTES + (n_channels + n_others) * FLOAT_BITS // 8
