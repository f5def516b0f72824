"""Study 6: recipes chosen by measuring on the board against recipes chosen by counting."""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.passes.specs import AnyPass, Cast, Quantize, StructuredPrune
from edgefleet_compression.studies.building import CIFAR, FULL, RESNET_20, SIX_SEEDS, Setting, arm
from edgefleet_compression.studies.claims import Claim, Comparison, SpeedClaim
from edgefleet_compression.studies.declaration import Arm, StudyData, StudyDeclaration, StudyModel, StudyScale

BOARDS: Final = (
    "this-host",
    "simulated-raspberry-pi-4",
    "simulated-jetson-nano",
    "simulated-coral-usb",
)
LARGE_DIGITS: Final = StudyData(
    name="noisy-digits-16",
    spec={"kind": "packaged", "name": "digits", "side": 16},
    noise=1.0,
    shares=(0.5, 0.15, 0.35),
)
MODEL: Final = StudyModel(
    name="resnet",
    architecture="resnet",
    arguments={"stem_width": 16, "widths": [16, 32, 64], "blocks": [1, 1, 1]},
    data=LARGE_DIGITS.name,
    epochs=5,
)
FORMATS: Final[tuple[tuple[str, AnyPass | None, str], ...]] = (
    ("fp32", None, "onnxruntime"),
    ("fp16", Cast(), "onnxruntime"),
    ("int8", Quantize(), "onnxruntime"),
    ("int8-weights", Quantize(activations=None), "onnxruntime"),
)
MULTIPLES: Final = (1, 8)


def _arms(setting: Setting, amount: float) -> Iterator[Arm]:
    """Yield the candidates: dense and pruned, by single channels or by eights, each in every format."""
    for name, spec, target in FORMATS:
        last = () if spec is None else (spec,)
        factors: dict[str, Any] = {"format": name}
        yield arm(f"dense-{name}", *last, target=target, family="dense", factors={**factors, "multiple": 0})
        for multiple in MULTIPLES:
            narrower = StructuredPrune(amount=amount, round_to=multiple)
            yield arm(
                f"pruned-by-{multiple}-{name}",
                narrower,
                setting.train(),
                *last,
                target=target,
                family="pruned",
                factors={**factors, "multiple": multiple},
            )


def _names() -> tuple[str, ...]:
    return tuple(item.name for item in _arms(FULL, 0.4))


def _claims() -> tuple[Claim, ...]:
    return tuple(
        SpeedClaim(
            name=f"aware against agnostic, {board}",
            board=board,
            arms=_names(),
            floor=0.95,
            supported_from=2.0,
            falsified_below=1.5,
        )
        for board in BOARDS
    )


COMPARISONS: Final = tuple(
    Comparison(family="single channels against eights", a=f"pruned-by-1-{name}", b=f"pruned-by-8-{name}")
    for name in ("fp32", "int8")
)

STUDY: Final = StudyDeclaration(
    name="hardware-aware",
    number=6,
    title="Hardware-aware against hardware-agnostic",
    question="How much faster is a recipe that is chosen by latency on the board than one chosen by counting operations and bytes?",
    hypothesis="At equal accuracy it is at least twice as fast on every kind of board.",
    falsified_if="on one of them it is less than 1.5 times as fast",
    analysis=(
        "Candidates keep 95 % of the accuracy on the validation split and run on the board. Agnostic: the fewest multiply-"
        "accumulates, of those the smallest file. Aware: the smallest mean p50 on the board.",
        "This host: the two picks are measured anew in turns, in short blocks, for every seed; the ratio of p50 is the geometric "
        "mean over seeds. Simulated boards: ratio of the simulated p50, its interval widened by 1.3 either way, which is what the "
        "simulation may be off.",
        "Where both rules pick the same file the ratio is 1.",
    ),
    left_out=(
        "Patterns for NEON, CUDA and TPU, and fusion of operators: they are the runtimes' own; edgefleet chooses what it gives them.",
        "Cache sizes, threads and batch: files are timed with one thread and batch 1.",
        "Binary and 4-bit weights: they make files smaller and nothing faster, no runtime here multiplies them.",
        "fp16 and int8 weights alone on simulated boards: the simulation knows fp32 and int8.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(LARGE_DIGITS,),
            models=(MODEL,),
            arms=tuple(_arms(Setting(epochs=3), 0.4)),
            seeds=SIX_SEEDS,
            claims=_claims(),
            comparisons=COMPARISONS,
            boards=BOARDS,
            expected="about 8 minutes of one CPU core, a third of it timing",
            differences=(
                "A small residual network on noisy digits of 16 x 16 pixels; boards but this host are SIMULATED.",
            ),
        ),
        StudyScale(
            name="full",
            data=(CIFAR,),
            models=(RESNET_20,),
            arms=tuple(_arms(FULL, 0.4)),
            seeds=SIX_SEEDS,
            claims=_claims(),
            comparisons=COMPARISONS,
            boards=BOARDS,
            expected="about 6 GPU hours (estimated) and an hour of a quiet host; with real boards use edgefleet search",
            differences=("ResNet-20 on CIFAR-10; boards but this host are SIMULATED.",),
        ),
    ),
)
