"""Study 7: how the best compression follows the size of the network."""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.studies.building import (
    CIFAR,
    DIGITS,
    FULL,
    ONE_SEED,
    SIX_SEEDS,
    SMALL,
    Setting,
    arm,
    pruned,
)
from edgefleet_compression.studies.claims import Claim, Comparison, FitClaim
from edgefleet_compression.studies.declaration import (
    Arm,
    ConstraintSet,
    StudyData,
    StudyDeclaration,
    StudyModel,
    StudyScale,
)

RATIOS: Final = (2, 4, 8)
"""Of every network."""
LAW: Final = (2, 4, 8, 16)
BETWEEN: Final = (3, 6, 12)
"""Fitted and held out in the law of one network."""

PI: Final = "simulated-raspberry-pi-4"


def _models(widths: tuple[int, ...], blocks: int, data: StudyData, epochs: int) -> tuple[StudyModel, ...]:
    return tuple(
        StudyModel(
            name=f"w{width}",
            architecture="resnet",
            arguments={"stem_width": width, "widths": [width, 2 * width, 4 * width], "blocks": [blocks] * 3},
            data=data.name,
            epochs=epochs,
        )
        for width in widths
    )


def _arms(setting: Setting, widths: tuple[int, ...], middle: int, few: tuple[int, ...]) -> Iterator[Arm]:
    for width in widths:
        for ratio in sorted((*LAW, *BETWEEN)) if width == middle else RATIOS:
            factors: dict[str, Any] = {"width": width, "ratio": ratio}
            yield arm(
                f"w{width}-{ratio}",
                pruned(ratio),
                setting.train(),
                model=f"w{width}",
                family=f"width {width}",
                factors=factors,
            )
    own: dict[str, Any] = {"model": f"w{middle}", "role": "ablation", "family": "training samples", "seeds": few}
    for percent in (10, 30):
        factors = {"share of the samples": percent / 100}
        yield arm(f"samples-{percent}", pruned(4), setting.train(), train_share=percent / 100, factors=factors, **own)


def _claims(widths: tuple[int, ...], middle: int, held_out: tuple[str, ...]) -> tuple[Claim, ...]:
    return (
        FitClaim(
            name="loss of accuracy over the ratio, one network",
            law="exponential",
            x="size_ratio",
            y="loss",
            arms=tuple(f"w{middle}-{ratio}" for ratio in sorted((*LAW, *BETWEEN))),
            held_out=tuple(f"w{middle}-{ratio}" for ratio in BETWEEN),
            supported_from=0.8,
            falsified_below=0.0,
        ),
        FitClaim(
            name="ratio reachable at 95 % retention over parameters",
            law="power",
            x="baseline_n_parameters",
            y="reachable_ratio",
            arms=tuple(f"w{width}-{ratio}" for width in widths for ratio in RATIOS),
            held_out=held_out,
            supported_from=0.8,
            falsified_below=0.0,
        ),
    )


def _constraints(scale: float, board: str) -> tuple[ConstraintSet, ...]:
    """Return the three sets of the question, bytes and milliseconds scaled alike."""
    asked = (("mobile", 50e6, 100.0), ("edge", 20e6, 50.0), ("iot", 5e6, 20.0))
    return tuple(
        ConstraintSet(name=name, size_bytes=round(size * scale), p50_ms=latency * scale * 20, board=board)
        for name, size, latency in asked
    )


SMALL_WIDTHS: Final = (6, 8, 12, 16, 24)
FULL_WIDTHS: Final = (8, 16, 32, 64, 128)
COMPARISONS: Final[tuple[Comparison, ...]] = ()

STUDY: Final = StudyDeclaration(
    name="scaling",
    number=7,
    title="Scaling, and what each constraint leaves",
    question="Does the best compression follow the size of a network, so that it can be foretold?",
    hypothesis="A law fitted on some sizes and ratios explains at least 80 % of the spread of others.",
    falsified_if="there is no trend: the law foretells held-out points no better than a constant does",
    analysis=(
        "Loss of accuracy over the ratio of bytes: exponential law, fitted at nominal 2, 4, 8, 16, judged at 3, 6, 12.",
        "Ratio reachable at 95 % retention over the number of parameters: power law, fitted on three sizes, judged on the largest "
        "and one in between.",
        "R squared is on held-out points, against the mean of the fitted ones; its interval is a bootstrap over seeds. The other "
        "law's AIC on the fitted points stands beside it.",
        "Constraint sets: accuracy-first takes the most accurate arm that meets the set on validation, efficiency-first the smallest "
        "file that keeps 95 %.",
    ),
    left_out=(
        "Networks of 10 to 200 million parameters and a million samples: out of reach here; the expected exponent (-0.7 to -0.9) is "
        "of a law between ratio and size that its documents do not define, so the fitted exponent is reported beside it.",
        "Transformers and hybrids: one family is varied in size; study 5 has a transformer.",
        "Streaming and batches: files are timed one sample at a time.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(DIGITS,),
            models=_models(SMALL_WIDTHS, 1, DIGITS, 8),
            arms=tuple(_arms(SMALL, SMALL_WIDTHS, 16, ONE_SEED)),
            seeds=SIX_SEEDS,
            claims=_claims(SMALL_WIDTHS, 16, ("w8", "w24")),
            comparisons=COMPARISONS,
            boards=(PI,),
            constraints=_constraints(0.002, PI),
            expected="about 8 minutes of one CPU core",
            differences=(
                "Networks of 11,000 to 170,000 parameters, one decade and not two; bytes of the constraint sets are 1/500 of those "
                "asked for, latencies 1/25, on a SIMULATED Raspberry Pi 4.",
            ),
        ),
        StudyScale(
            name="full",
            data=(CIFAR,),
            models=_models(FULL_WIDTHS, 3, CIFAR, 120),
            arms=tuple(_arms(FULL, FULL_WIDTHS, 32, SIX_SEEDS)),
            seeds=SIX_SEEDS,
            claims=_claims(FULL_WIDTHS, 32, ("w16", "w128")),
            comparisons=COMPARISONS,
            boards=(PI,),
            constraints=_constraints(0.05, PI),
            expected="about 90 GPU hours (estimated: 150 units of 40 epochs and 30 baselines of 120)",
            differences=("Residual networks of 0.07 to 17 million parameters on CIFAR-10; boards are SIMULATED.",),
        ),
    ),
)
