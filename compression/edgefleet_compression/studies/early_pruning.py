"""Study 3: pruning early in training with self-distillation, fixed against adaptive."""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.passes.specs import ClockPace, ConvergencePace, Distill, Pace, PlateauPace, Sparsify
from edgefleet_compression.studies.building import (
    CIFAR,
    DIGITS,
    ONE_SEED,
    RESNET_20,
    SIX_SEEDS,
    SMALL_RESNET,
    Setting,
    arm,
    sensitivity,
)
from edgefleet_compression.studies.claims import Chosen, Comparison, DifferenceClaim
from edgefleet_compression.studies.declaration import Arm, StudyDeclaration, StudyScale

ZEROS: Final = round(1 - 1 / 6, 4)
"""Six times fewer weights that are not zero."""

FIXED: Final = ("fixed-cubic", "fixed-linear", "fixed-early")
ADAPTIVE: Final = ("adaptive-plateau", "adaptive-convergence")
SELF: Final = Distill(teacher="best_validation", alpha=0.3, refresh_epochs=2)
"""Self-distillation: the teacher is the best state so far. The labels keep most of the say, since the teacher is young."""


def _sparsify(schedule: str = "cubic", pace: Pace | None = None, **changes: Any) -> Sparsify:
    values: dict[str, Any] = {
        "amount": ZEROS,
        "schedule": schedule,
        "pace": pace or ClockPace(),
        "start_fraction": 0.05,
        "end_fraction": 0.6,
    }
    return Sparsify(**{**values, **changes})


def _arms(
    setting: Setting, patience: tuple[int, ...], refresh: tuple[int, ...], seeds: tuple[int, ...], few: tuple[int, ...]
) -> Iterator[Arm]:
    own: dict[str, Any] = {"start": "untrained", "seeds": seeds}
    plateau = _sparsify(pace=PlateauPace(patience=patience[0]), scope="dynamic")
    yield arm("fixed-cubic", setting.train(_sparsify(), SELF), family="fixed", **own)
    yield arm("fixed-linear", setting.train(_sparsify("linear"), SELF), family="fixed", **own)
    early = _sparsify("one_shot", criterion="snip", sensitivity="training", end_fraction=0.1)
    yield arm("fixed-early", setting.train(early, SELF), family="fixed", **own)
    adaptive = arm("adaptive-plateau", setting.train(plateau, SELF), family="adaptive", **own)
    yield adaptive
    convergence = _sparsify(pace=ConvergencePace(loss_ratio=0.4), scope="dynamic")
    yield arm("adaptive-convergence", setting.train(convergence, SELF), family="adaptive", **own)
    random = _sparsify("one_shot", criterion="random", end_fraction=0.1)
    yield arm("random-early", setting.train(random, SELF), role="control", family="control", **own)
    yield arm("without-teacher", setting.train(_sparsify()), role="control", family="control", **own)
    yield from _ablations(setting, patience, refresh, few)
    yield from sensitivity(adaptive, few)


def _ablations(
    setting: Setting, patience: tuple[int, ...], refresh: tuple[int, ...], few: tuple[int, ...]
) -> Iterator[Arm]:
    own: dict[str, Any] = {"start": "untrained", "role": "ablation", "seeds": few}
    for length in patience[1:]:
        sparsify = _sparsify(pace=PlateauPace(patience=length), scope="dynamic")
        yield arm(
            f"patience-{length}", setting.train(sparsify, SELF), family="patience", factors={"epochs": length}, **own
        )
    for curve in ("exponential", "sigmoid"):
        training = setting.train(_sparsify(curve), SELF)
        yield arm(f"curve-{curve}", training, family="rate curve", factors={"curve": curve}, **own)
    for epochs in refresh:
        taught = SELF.model_copy(update={"refresh_epochs": epochs})
        training = setting.train(_sparsify(), taught)
        yield arm(f"refresh-{epochs}", training, family="self-distillation every", factors={"epochs": epochs}, **own)
    falling = SELF.model_copy(update={"final_temperature": 1.0})
    yield arm(
        "temperature-falling",
        setting.train(_sparsify(), falling),
        family="temperature",
        factors={"temperature": "4 to 1"},
        **own,
    )
    for teacher in ("ema", "ensemble"):
        taught = Distill.model_validate({"teacher": teacher, "alpha": 0.3, "ema_decay": 0.95})
        yield arm(
            f"teacher-{teacher}",
            setting.train(_sparsify(), taught),
            family="teacher",
            factors={"teacher": teacher},
            **own,
        )


CLAIM: Final = DifferenceClaim(
    name="adaptive over fixed",
    a=Chosen(arms=ADAPTIVE, choose="best"),
    b=Chosen(arms=FIXED, choose="best"),
    metric="retention_over_chance",
    scale="ratio",
    supported_from=1.15,
    falsified_below=1.10,
)
COMPARISONS: Final = (
    *(Comparison(family="adaptive against fixed", a=a, b=b) for a in ADAPTIVE for b in FIXED),
    Comparison(family="controls", a="fixed-early", b="random-early"),
    Comparison(family="controls", a="fixed-cubic", b="without-teacher"),
)
RATE: Final = Setting(epochs=10, lr=0.05)

STUDY: Final = StudyDeclaration(
    name="early-pruning",
    number=3,
    title="Early pruning with self-distillation, fixed against adaptive",
    question="Does pruning that follows the course of training use a training better than pruning by a fixed plan?",
    hypothesis="Adaptive pruning is at least 15 % more efficient than fixed at six times fewer weights: it keeps that much more of the "
    "accuracy above chance for the same training.",
    falsified_if="it is less than 10 % more efficient",
    analysis=(
        "Efficiency is retention above chance for the cost of training; all arms train equally long from drawn weights, so that "
        "the ratio of efficiencies is the ratio of retentions above chance.",
        "The best fixed and the best adaptive arm are chosen on the validation split; the claim is the geometric mean of their "
        "ratio on the test split over seeds.",
        "Retention is over the same network trained dense.",
    ),
    left_out=(
        "ResNet-18, -34 and -50 on ImageNet: no ImageNet is at hand.",
        "Shuffling masks within layers (Frankle et al. 2020, arXiv:2009.08576): no pass does that; random masks stand in.",
        "Size: zeros make a file no smaller, so the six times are of weights that are not zero; bytes after gzip stand beside.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(DIGITS,),
            models=(SMALL_RESNET,),
            arms=tuple(_arms(RATE, (1, 2, 3), (1, 4), SIX_SEEDS, ONE_SEED)),
            seeds=SIX_SEEDS,
            claims=(CLAIM,),
            comparisons=COMPARISONS,
            expected="about 5 minutes of one CPU core",
            differences=(
                "A small residual network on noisy digits, 10 epochs; patience and intervals are shortened in proportion.",
            ),
        ),
        StudyScale(
            name="full",
            data=(CIFAR,),
            models=(RESNET_20,),
            arms=tuple(
                _arms(
                    Setting(epochs=120, lr=0.1, batch_size=128, augmentation="crop_flip"),
                    (3, 5, 10, 15),
                    (5, 10, 20, 50),
                    SIX_SEEDS,
                    SIX_SEEDS,
                )
            ),
            seeds=SIX_SEEDS,
            claims=(CLAIM,),
            comparisons=COMPARISONS,
            expected="about 50 GPU hours (estimated: 140 trainings of 120 epochs, 21 minutes each)",
            differences=("ResNet-20 on CIFAR-10 instead of ResNet-18, -34 and -50 on ImageNet.",),
        ),
    ),
)
