"""Ready recipes. Torch-free; tuned on the validation split of the digits, never on its test split."""

from collections.abc import Mapping
from types import MappingProxyType

from edgefleet_compression.passes.specs import (
    ActivationFormat,
    Budget,
    Cast,
    Distill,
    FakeQuant,
    Optimizer,
    Quantize,
    StructuredPrune,
    Student,
    Train,
    WeightFormat,
)
from edgefleet_compression.recipe import Recipe

_FINE_TUNE = Train(budget=Budget(epochs=8), optimizer=Optimizer(lr=0.02))
_PRUNE_HALF = StructuredPrune(amount=0.5)
_DISTILL = Distill(teacher="fixed")

PRESETS: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(name="baseline"),
            Recipe(name="int8", passes=(Quantize(),)),
            Recipe(name="prune50", passes=(_PRUNE_HALF, _FINE_TUNE)),
            Recipe(name="prune50-int8", passes=(_PRUNE_HALF, _FINE_TUNE, Quantize())),
            Recipe(
                name="distill-int8",
                passes=(
                    Train(budget=Budget(epochs=16), student=Student(width_ratio=0.5), ingredients=(_DISTILL,)),
                    Quantize(),
                ),
            ),
            Recipe(
                name="joint",
                passes=(
                    _PRUNE_HALF,
                    Train(
                        budget=Budget(epochs=10),
                        optimizer=Optimizer(lr=0.02),
                        ingredients=(FakeQuant(start_fraction=0.6), _DISTILL),
                    ),
                ),
            ),
            Recipe(name="int8-dynamic", passes=(Quantize(activations=ActivationFormat(mode="dynamic")),)),
            Recipe(name="int8-weights", passes=(Quantize(activations=None),)),
            Recipe(
                name="int4-weights",
                passes=(Quantize(weights=WeightFormat(bits=4, granularity="block"), activations=None),),
            ),
            Recipe(name="fp16", passes=(Cast(),)),
        )
    }
)
"""baseline (fp32), int8 (post-training), prune50 (half of the channels, then fine-tuned), prune50-int8, distill-int8
(a student of half the width, then int8), joint (pruned, then one training with fake-quant and distillation), and the
other number formats: int8-dynamic, int8-weights, int4-weights, fp16."""
