"""Ready recipes. Torch-free; tuned on the validation split of the digits, never on its test split."""

from collections.abc import Mapping
from types import MappingProxyType

from edgefleet_compression.passes.specs import (
    Budget,
    Distill,
    FakeQuant,
    Optimizer,
    Quantize,
    StructuredPrune,
    Student,
    Train,
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
        )
    }
)
"""baseline (fp32), int8 (post-training), prune50 (half of the channels, then fine-tuned), prune50-int8, distill-int8
(a student of half the width, then int8) and joint (pruned, then one training with fake-quant and distillation)."""
