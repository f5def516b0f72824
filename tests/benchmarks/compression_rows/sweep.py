"""Every criterion at 10 to 90 %: whole channels removed, and single weights set to zero.

Most rows are pruned and nothing else, on fewer images, so that they only sort criteria. Those for a GPU are trained for one
pass over the data afterwards, each alike.
"""

from collections.abc import Iterator
from typing import Final, get_args

from tests.benchmarks.compression_rows.row import Row, Scale

from edgefleet_compression.passes.specs import (
    AnyPass,
    Budget,
    CriterionName,
    LearningRateSchedule,
    Optimizer,
    PruneWeights,
    StructuredPrune,
    Train,
)
from edgefleet_compression.recipe import Recipe

AMOUNTS: Final = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
CRITERIA: Final[tuple[CriterionName, ...]] = get_args(CriterionName)
CONTROL: Final[CriterionName] = "random"
SYNFLOW_ROUNDS: Final = 100
"""Tanaka et al. 2020, arXiv:2006.05467, section 5: one round empties layers."""

FINE_TUNING: Final = Train(
    budget=Budget(epochs=1),
    batch_size=128,
    optimizer=Optimizer(lr=0.01),
    lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
)


def structured(criterion: CriterionName, amount: float) -> StructuredPrune:
    """Return the pass that removes this share of every layer's channels."""
    return StructuredPrune(amount=amount, criterion=criterion, round_to=1)


def unstructured(criterion: CriterionName, amount: float) -> PruneWeights:
    """Return the pass that zeroes this share of all weights under one ranking."""
    rounds = SYNFLOW_ROUNDS if criterion == "synflow" else 1
    return PruneWeights(amount=amount, criterion=criterion, scope="global", rounds=rounds)


def layerwise(amount: float) -> PruneWeights:
    """Return the layer-wise solver, which moves the other weights to make up for the zeros."""
    return PruneWeights(amount=amount, solver="layerwise")


def rows() -> Iterator[Row]:
    """Yield all rows of the sweep, those without training first."""
    for scale in ("sweep", "gpu"):
        for amount in AMOUNTS:
            for criterion in CRITERIA:
                yield _row("channels", criterion, amount, structured(criterion, amount), scale)
            for criterion in CRITERIA:
                yield _row("weights", criterion, amount, unstructured(criterion, amount), scale)
            yield _row("weights", "layerwise", amount, layerwise(amount), scale)


def _row(what: str, criterion: str, amount: float, spec: AnyPass, scale: Scale) -> Row:
    is_pruned_alone = scale == "sweep"
    ending = "" if is_pruned_alone else "-trained"
    name = f"{what}-{criterion}-{round(100 * amount)}{ending}"
    heading = f"Sweep, {what}, " + ("no training afterwards" if is_pruned_alone else "one epoch of training afterwards")
    return Row(
        name=name,
        model="resnet20",
        recipe=Recipe(name=name, passes=(spec,) if is_pruned_alone else (spec, FINE_TUNING)),
        target="onnxruntime",
        table=heading,
        scale=scale,
        data="cifar10-512" if is_pruned_alone else "cifar10-20k",
        timed=not is_pruned_alone and what == "channels",
        control=None if criterion == CONTROL else f"{what}-{CONTROL}-{round(100 * amount)}{ending}",
    )
