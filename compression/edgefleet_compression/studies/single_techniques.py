"""Study 1: single techniques compared."""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.passes.specs import (
    Cast,
    Distill,
    FakeQuant,
    ImportanceGroups,
    LearningRateSchedule,
    LotteryTicket,
    Optimizer,
    Quantize,
    Student,
    WeightFormat,
)
from edgefleet_compression.passes.specs.training import Budget
from edgefleet_compression.studies.building import (
    CIFAR,
    DIGITS,
    FULL,
    ONE_SEED,
    RESNET_20,
    SIX_SEEDS,
    SMALL,
    SMALL_RESNET,
    Setting,
    arm,
    pruned,
    sensitivity,
)
from edgefleet_compression.studies.claims import Chosen, Comparison, DifferenceClaim
from edgefleet_compression.studies.declaration import Arm, StudyDeclaration, StudyModel, StudyScale

AT_FOUR: Final = ("pruning-4", "gradient-4", "quantization-4", "distillation-4")
CONTROLS: Final = (("pruning-4", "random-4"), ("gradient-4", "random-4"), ("distillation-4", "student-4"))


def _student(model: StudyModel, ratio: float) -> Student:
    """Return a student of the same architecture with so many times fewer parameters."""
    narrower = ratio**-0.5
    if model.architecture == "resnet":
        arguments: dict[str, Any] = dict(model.arguments)
        arguments["stem_width"] = max(2, round(arguments["stem_width"] * narrower))
        arguments["widths"] = [max(2, round(width * narrower)) for width in arguments["widths"]]
        return Student(architecture="resnet", arguments=arguments)
    if model.architecture == "resnet-20":
        widths = [max(2, round(width * narrower)) for width in (16, 32, 64)]
        return Student(architecture="resnet-20", arguments={"stem_width": widths[0], "widths": widths})
    return Student(width_ratio=narrower)


def _arms(setting: Setting, model: StudyModel, seeds: tuple[int, ...], few: tuple[int, ...]) -> Iterator[Arm]:
    for ratio in (2, 4, 8, 16):
        own: dict[str, Any] = {"seeds": seeds if ratio == 4 else few, "factors": {"ratio": ratio}, "model": model.name}
        yield arm(f"pruning-{ratio}", pruned(ratio), setting.train(), family="pruning", **own)
        yield from _quantized(setting, ratio, own)
        taught = setting.train(Distill(teacher="fixed"), student=_student(model, ratio))
        yield arm(f"distillation-{ratio}", taught, family="distillation", **own)
    four: dict[str, Any] = {"factors": {"ratio": 4}, "model": model.name}
    yield arm("gradient-4", pruned(4, criterion="taylor"), setting.train(), family="pruning", **four)
    third = Budget(epochs=max(1, setting.epochs // 3))
    ticket = LotteryTicket(
        amount=0.75, rounds=2, budget=third, optimizer=Optimizer(lr=0.05), batch_size=setting.batch_size
    )
    yield arm("ticket-4", ticket, family="pruning", **four)
    yield arm("random-4", pruned(4, criterion="random"), setting.train(), role="control", family="pruning", **four)
    yield arm("student-4", setting.train(student=_student(model, 4)), role="control", family="distillation", **four)
    yield from _ablations(setting, model, few)
    yield from sensitivity(arm("pruning-4", pruned(4), setting.train(), **four), few)


def _quantized(setting: Setting, ratio: int, own: dict[str, Any]) -> Iterator[Arm]:
    name = f"quantization-{ratio}"
    if ratio == 2:
        yield arm(name, Cast(), family="quantization", **own)
    elif ratio == 4:
        yield arm(name, setting.train(FakeQuant()), family="quantization", **own)
    else:
        bits = WeightFormat.model_validate({"bits": 32 // ratio, "scale": "learned"})
        target = "onnxruntime-current" if ratio == 8 else "onnxruntime-1.24"
        rounded = setting.train(FakeQuant(weights=bits, activations=None, start_fraction=0.3))
        yield arm(name, rounded, target=target, family="quantization", **own)


def _ablations(setting: Setting, model: StudyModel, few: tuple[int, ...]) -> Iterator[Arm]:
    own: dict[str, Any] = {"role": "ablation", "seeds": few, "model": model.name}
    for temperature in (1.0, 3.0, 5.0, 10.0, 20.0):
        taught = Distill(teacher="fixed", temperature=temperature)
        training = setting.train(taught, student=_student(model, 4))
        yield arm(
            f"temperature-{temperature:g}", training, family="temperature", factors={"temperature": temperature}, **own
        )
    for name in ("constant", "cosine", "restarts"):
        schedule = LearningRateSchedule.model_validate({"name": name, "warmup_fraction": 0.05})
        training = setting.train(lr_schedule=schedule)
        yield arm(f"schedule-{name}", pruned(4), training, family="training", factors={"schedule": name}, **own)
    yield arm("int8-after-training", Quantize(), family="precision", factors={"bits": 8}, **own)
    hybrid = Quantize(weights=WeightFormat(bits=4), activations=None, hybrid=ImportanceGroups(share=0.5))
    yield arm("mixed-8-4", hybrid, target="onnxruntime-current", family="precision", factors={"bits": "8 and 4"}, **own)


CLAIM: Final = DifferenceClaim(
    name="spread of the techniques at 4x",
    a=Chosen(arms=AT_FOUR, choose="best"),
    b=Chosen(arms=AT_FOUR, choose="worst"),
    metric="retention",
    supported_from=5.0,
    falsified_below=5.0,
)
COMPARISONS: Final = tuple(Comparison(family="against its control", a=a, b=b) for a, b in CONTROLS) + tuple(
    Comparison(family="techniques at 4x", a=a, b=b) for index, a in enumerate(AT_FOUR) for b in AT_FOUR[index + 1 :]
)

STUDY: Final = StudyDeclaration(
    name="single-techniques",
    number=1,
    title="Single techniques compared",
    question="How do pruning, quantization and distillation alone differ in what they keep of the accuracy at the same ratio?",
    hypothesis="The techniques differ in their trade-offs: at four times fewer bytes the retention of the best and the worst lies 5 "
    "points or more apart.",
    falsified_if="the spread of retention at 4x is below 5 points",
    analysis=(
        "Best and worst technique at 4x are chosen by mean retention on the validation split; the claim is their mean difference "
        "on the test split over seeds, with Student's interval.",
        "Every technique trains equally long. Students begin with drawn weights, the others with the trained network.",
        "Ratios are of parameters for pruning and distillation, of bits for quantization; the ratio of bytes that each file "
        "reached stands beside it.",
    ),
    left_out=(
        "ImageNet, ResNet-50 and EfficientNet-B0: no ImageNet is at hand; networks of the zoo on smaller images stand in.",
        "Mixed FP16 and INT8 in one file: a file of edgefleet has one number format; 8 and 4 bits by channel stand in.",
        "The lottery ticket is no candidate of the claim: its zeros make no file smaller.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(DIGITS,),
            models=(SMALL_RESNET,),
            arms=tuple(_arms(SMALL, SMALL_RESNET, SIX_SEEDS, ONE_SEED)),
            seeds=SIX_SEEDS,
            claims=(CLAIM,),
            comparisons=COMPARISONS,
            expected="about 5 minutes of one CPU core",
            differences=("One small residual network on noisy digits instead of three networks on ImageNet.",),
        ),
        StudyScale(
            name="full",
            data=(CIFAR,),
            models=(RESNET_20,),
            arms=tuple(_arms(FULL, RESNET_20, SIX_SEEDS, SIX_SEEDS)),
            seeds=SIX_SEEDS,
            claims=(CLAIM,),
            comparisons=COMPARISONS,
            expected="about 25 GPU hours (estimated: 200 trainings of 40 epochs, 7 minutes each)",
            differences=("ResNet-20 on CIFAR-10 instead of three networks on ImageNet.",),
        ),
    ),
)
