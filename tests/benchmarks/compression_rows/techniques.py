"""Low rank, rounding, bits per layer and per channel: after training, each beside what it has to beat."""

from typing import Final

from tests.benchmarks.compression_rows.row import Row, Scale
from tests.benchmarks.compression_rows.sweep import FINE_TUNING

from edgefleet_compression.passes.specs import (
    AnyPass,
    LowRank,
    Quantize,
    StructuredPrune,
    WeightFormat,
)
from edgefleet_compression.passes.specs.allocation import BitAllocation, ImportanceGroups
from edgefleet_compression.recipe import Recipe

LOW_RANK: Final = "Low rank"
BITS: Final = "Bits: hybrids of 8 and 4, against pruning and quantization alone"
INT4: Final = WeightFormat(bits=4, scale="mse")
MIXED_BYTES: Final = 200_000
"""About the weights' bytes of the hybrid with a half of the channels at 8 bits."""


def _row(
    name: str,
    table: str,
    passes: tuple[AnyPass, ...],
    target: str = "onnxruntime-current",
    *,
    scale: Scale = "sweep",
    control: str | None = None,
    other_controls: tuple[str, ...] = (),
    note: str = "",
    timed: bool = False,
) -> Row:
    return Row(
        name=name,
        model="resnet20",
        recipe=Recipe(name=name, passes=passes),
        target=target,
        table=table,
        scale=scale,
        data="cifar10-20k" if FINE_TUNING in passes else "cifar10-1k",
        control=control,
        other_controls=other_controls,
        note=note,
        timed=timed,
    )


def _low_rank() -> tuple[Row, ...]:
    half = LowRank(parameters_ratio=0.5, form="smaller")
    pruned = StructuredPrune(amount=0.3, round_to=1)
    return (
        _row("low-rank-90", LOW_RANK, (LowRank(energy=0.9),), note="90 % of the energy, no training"),
        _row("low-rank-half", LOW_RANK, (half,), control="pruned-half", note="half of the parameters, no training"),
        _row("pruned-half", LOW_RANK, (pruned,), note="control: about as many channels removed"),
        _row("low-rank-half-trained", LOW_RANK, (half, FINE_TUNING), control="pruned-half-trained"),
        _row("pruned-half-trained", LOW_RANK, (pruned, FINE_TUNING), note="control: channels removed"),
    )


def _bits() -> tuple[Row, ...]:
    hybrid = ImportanceGroups(share=0.5)
    at_random = ImportanceGroups(share=0.5, criterion="random")
    by_layer = BitAllocation(size_bytes=MIXED_BYTES, choices=(8, 4))
    return (
        _row(
            "hybrid-half",
            BITS,
            (Quantize(weights=INT4, activations=None, hybrid=hybrid),),
            control="hybrid-half-random",
            note="the more important half of every layer's channels at 8 bits, the others at 4",
        ),
        _row(
            "hybrid-half-random",
            BITS,
            (Quantize(weights=INT4, activations=None, hybrid=at_random),),
            note="control: channels drawn at random",
        ),
        _row(
            "bits-by-layer",
            BITS,
            (Quantize(weights=INT4, activations=None, allocation=by_layer),),
            note=f"integer program, {MIXED_BYTES:,} bytes of weights",
        ),
        _row(
            "pruned-then-int8-weights",
            BITS,
            (StructuredPrune(amount=0.12, round_to=1), Quantize(activations=None)),
            note="pruning to about the hybrid's size, at 8 bits; no training",
        ),
        _row("int8-weights", BITS, (Quantize(activations=None),), note="quantization alone"),
        _row(
            "int4-adaround",
            BITS,
            (Quantize(weights=INT4, activations=None, rounding="adaround"),),
            control="int4-mse",
            other_controls=("int4-nearest",),
            note="learned rounding",
        ),
    )


ROWS: Final = (*_low_rank(), *_bits())
