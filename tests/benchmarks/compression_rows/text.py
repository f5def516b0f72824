"""SST-2 with MiniLM from packaged weights, fine-tuned here."""

from typing import Final

from tests.benchmarks.compression_rows.row import Goal, Row, Scale

from edgefleet_compression.passes.specs import (
    ActivationFormat,
    AnyPass,
    Budget,
    Distill,
    LearningRateSchedule,
    LowRank,
    Optimizer,
    Quantize,
    StructuredPrune,
    Train,
    WeightFormat,
)
from edgefleet_compression.recipe import Recipe

TABLE: Final = "SST-2, MiniLM-L6"
NOTE: Final = "dev has 872 sentences: the 95 % interval at 90 % is +-2 points"


N_STEPS: Final = 1000
MORE_STEPS: Final = 700


def training(steps: int, *, lr: float, distilled: bool) -> Train:
    """Return a fine-tuning with AdamW; rates as usual for BERT (Devlin et al. 2019, arXiv:1810.04805, appendix A.3)."""
    return Train(
        budget=Budget(steps=steps),
        batch_size=32,
        optimizer=Optimizer(name="adamw", lr=lr, weight_decay=0.01),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.1),
        ingredients=(Distill(teacher="fixed", temperature=2.0),) if distilled else (),
    )


FINE_TUNING: Final = Recipe(
    name="sst2-fine-tuning",
    passes=(
        training(N_STEPS, lr=5e-5, distilled=False),
        training(MORE_STEPS, lr=5e-5, distilled=False),
    ),
)
"""54,400 sentences: after the first 32,000 the baseline was at 87.2 % on dev, below the 88 % that it is to have."""

RECOVERY_STEPS: Final = 250
_FEWER_RANKS: Final = LowRank(parameters_ratio=0.77, layers=("embedding",))
"""With 4-bit weights a little more than an eighth is left; without it a little less is saved."""

_THIN: Final = (
    LowRank(parameters_ratio=0.65, layers=("embedding",)),
    StructuredPrune(amount=0.4, round_to=8),
)


def _row(
    name: str,
    *passes: AnyPass,
    goal: Goal | None = None,
    control: str | None = None,
    note: str = "",
    scale: Scale = "full",
) -> Row:
    return Row(
        name=f"sst2-{name}",
        model="minilm-sst2",
        recipe=Recipe(name=f"sst2-{name}", passes=passes),
        target="onnxruntime-current",
        table=TABLE,
        scale=scale,
        goal=goal,
        control=control and f"sst2-{control}",
        note=note,
    )


_DYNAMIC: Final = Quantize(activations=ActivationFormat(mode="dynamic"))
_INT4: Final = Quantize(weights=WeightFormat(bits=4, granularity="block"), activations=None)
GOAL: Final = Goal(retention=0.95, size_ratio=8.0)


def _recovered(*, distilled: bool) -> tuple[AnyPass, ...]:
    return (_FEWER_RANKS, training(RECOVERY_STEPS, lr=3e-5, distilled=distilled), _INT4)


def _thin(*, distilled: bool) -> tuple[AnyPass, ...]:
    return (*_THIN, training(N_STEPS, lr=5e-5, distilled=distilled), _DYNAMIC)


ROWS: Final = (
    _row("int8-dynamic", _DYNAMIC, note=NOTE),
    _row("int4", _INT4, note="4-bit weights in blocks of 32, no training"),
    _row(
        "low-rank-int4",
        _FEWER_RANKS,
        _INT4,
        goal=GOAL,
        note="a factorised word embedding and 4-bit weights, no training",
    ),
    _row("low-rank-int4-trained", *_recovered(distilled=True), goal=GOAL, control="low-rank-int4-alone"),
    _row("low-rank-int4-alone", *_recovered(distilled=False), note="control: no teacher"),
    _row("thin-int8", *_thin(distilled=True), goal=GOAL, control="thin-int8-alone", scale="gpu"),
    _row("thin-int8-alone", *_thin(distilled=False), note="control: no teacher", scale="gpu"),
)
