"""Study 4: quantization without data, by images that the network's own statistics describe."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from edgefleet_compression.passes.specs import (
    ActivationFormat,
    Budget,
    Calibration,
    Distill,
    FakeQuant,
    LearningRateSchedule,
    Optimizer,
    Quantize,
    Synthesis,
    Train,
    WeightFormat,
)
from edgefleet_compression.studies.building import (
    CIFAR,
    DIGITS,
    ONE_SEED,
    RESNET_20,
    SIX_SEEDS,
    SMALL_RESNET,
    arm,
)
from edgefleet_compression.studies.claims import Chosen, Comparison, LevelClaim
from edgefleet_compression.studies.declaration import Arm, StudyDeclaration, StudyScale


@dataclass(frozen=True)
class _Setting:
    """How much is synthesised and trained."""

    synthesis_steps: int
    n_samples: int
    generator_steps: int
    train_steps: int
    other_steps: tuple[int, ...]
    batch_sizes: tuple[int, ...]


def _calibrated(setting: _Setting, source: str, bits: int = 8, **changes: Any) -> Quantize:
    calibration = Calibration.model_validate(
        {
            "source": source,
            "synthesis_steps": setting.synthesis_steps,
            "n_samples": 256,
            "observer": "minmax" if bits == 8 else "mse",
        }
    )
    weights = WeightFormat.model_validate({"bits": bits, "scale": "peak" if bits == 8 else "mse"})
    values: dict[str, Any] = {
        "weights": weights,
        "activations": ActivationFormat.model_validate({"bits": bits}),
        "calibration": calibration,
    }
    return Quantize(**{**values, **changes})


def _trained(setting: _Setting, *, with_data: bool = False, method: str = "logits", **synthesis: Any) -> Train:
    """Return a training to 4-bit weights and activations, on made images or on the data, taught by the float network."""
    own = {"source": "generator", "n_samples": setting.n_samples, "steps": setting.generator_steps, "batch_size": 64}
    rounded = FakeQuant(
        weights=WeightFormat(bits=4, scale="learned"),
        activations=ActivationFormat(bits=4, scale="learned"),
        start_fraction=0.0,
    )
    alpha = {"alpha": 1.0} if method == "logits" else {}
    return Train(
        budget=Budget(steps=setting.train_steps),
        optimizer=Optimizer(lr=0.02),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        synthesis=None if with_data else Synthesis.model_validate({**own, **synthesis}),
        ingredients=(rounded, Distill.model_validate({"teacher": "fixed", "method": method, **alpha})),
    )


def _arms(setting: _Setting, seeds: tuple[int, ...], few: tuple[int, ...]) -> Iterator[Arm]:
    for source in ("generator", "batchnorm", "random", "train"):
        role = "control" if source in ("random", "train") else "main"
        own: dict[str, Any] = {"role": role, "seeds": seeds, "factors": {"source": source}}
        yield arm(f"int8-{source}", _calibrated(setting, source), family="int8", **own)
        own["seeds"] = seeds if source in ("generator", "random") else few
        yield arm(f"w4a4-{source}", _calibrated(setting, source, 4), target="onnxruntime-current", family="w4a4", **own)
    current: dict[str, Any] = {"target": "onnxruntime-current", "family": "w4a4 trained", "seeds": seeds}
    yield arm("w4a4-generator-trained", _trained(setting), factors={"source": "generator"}, **current)
    yield arm(
        "w4a4-train-trained",
        _trained(setting, with_data=True),
        role="control",
        factors={"source": "train"},
        **{**current, "seeds": few},
    )
    yield from _ablations(setting, few)


def _ablations(setting: _Setting, few: tuple[int, ...]) -> Iterator[Arm]:
    own: dict[str, Any] = {"role": "ablation", "seeds": few}
    four: dict[str, Any] = {"target": "onnxruntime-current", **own}
    for weight in (0.01, 0.1, 1.0, 10.0):
        training = _trained(setting, adversarial_weight=weight)
        yield arm(f"adversarial-{weight:g}", training, family="adversarial weight", factors={"weight": weight}, **four)
    for size in setting.batch_sizes:
        yield arm(f"batch-{size}", _trained(setting, batch_size=size), family="batch", factors={"images": size}, **four)
    for steps in setting.other_steps:
        yield arm(f"steps-{steps}", _trained(setting, steps=steps), family="steps", factors={"steps": steps}, **four)
    for method in ("attention", "features"):
        yield arm(
            f"objective-{method}",
            _trained(setting, method=method),
            family="objective",
            factors={"objective": method},
            **four,
        )
    symmetric = _calibrated(setting, "batchnorm", activations=ActivationFormat(symmetric=True))
    yield arm("int8-symmetric", symmetric, family="format", factors={"format": "symmetric"}, **own)
    by_tensor = _calibrated(setting, "batchnorm", weights=WeightFormat(granularity="tensor"))
    yield arm("int8-per-tensor", by_tensor, family="format", factors={"format": "per tensor"}, **own)


CLAIM: Final = LevelClaim(
    name="int8 without data, images of the generator",
    arm=Chosen(arms=("int8-generator",)),
    metric="retention",
    supported_from=0.90,
    falsified_below=0.85,
)
COMPARISONS: Final = (
    Comparison(family="int8", a="int8-generator", b="int8-train"),
    Comparison(family="int8", a="int8-generator", b="int8-random"),
    Comparison(family="int8", a="int8-batchnorm", b="int8-random"),
    Comparison(family="w4a4", a="w4a4-generator", b="w4a4-random"),
    Comparison(family="w4a4", a="w4a4-generator-trained", b="w4a4-generator"),
)

STUDY: Final = StudyDeclaration(
    name="data-free",
    number=4,
    title="Data-free quantization with adversarial distillation",
    question="How much accuracy is kept by a network that is quantized without its data?",
    hypothesis="INT8 calibrated on images of an adversarial generator keeps at least 90 % of the accuracy.",
    falsified_if="it keeps less than 85 %",
    analysis=(
        "The claim is the mean retention of one arm, named beforehand, over seeds with Student's interval.",
        "INT8 is easy: 4-bit weights and activations are the hard case, and noise as calibration is the control that made images "
        "have to beat.",
        "No pass of a data-free arm is given the data set; real samples give the reported accuracy alone.",
    ),
    left_out=(
        "StyleGAN2 and diffusion as generators: each is itself trained on a large data set, which is what is missing here.",
        "Squared error of the outputs as an objective: distillation here is by softened outputs, attention or features.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(DIGITS,),
            models=(SMALL_RESNET,),
            arms=tuple(_arms(_Setting(60, 512, 80, 60, (40, 160), (32, 128)), SIX_SEEDS, ONE_SEED)),
            seeds=SIX_SEEDS,
            claims=(CLAIM,),
            comparisons=COMPARISONS,
            expected="about 6 minutes of one CPU core",
            differences=(
                "A small residual network on noisy digits; 40 to 160 steps of the generator instead of 1,000 to 10,000.",
            ),
        ),
        StudyScale(
            name="full",
            data=(CIFAR,),
            models=(RESNET_20,),
            arms=tuple(_arms(_Setting(500, 8192, 5000, 10_000, (1000, 10_000), (32, 128)), SIX_SEEDS, SIX_SEEDS)),
            seeds=SIX_SEEDS,
            claims=(CLAIM,),
            comparisons=COMPARISONS,
            expected="about 30 GPU hours (estimated: 120 units, 15 minutes each)",
            differences=(),
        ),
    ),
)
