"""The space that the bench searches: depth, width, numbers and runtime of ResNet-20 on CIFAR-10 (JPEG copy)."""

from typing import Any, Final

from edgefleet_compression.precision import Precision
from edgefleet_compression.search.axes import CategoricalAxis, Choice, FloatAxis, IntegerAxis, Value
from edgefleet_compression.search.objectives import Objective
from edgefleet_compression.search.space import PassTemplate, SearchSpace, TargetChoice
from edgefleet_deploy.targets import get_target

MODEL: Final = "resnet20"
DATA: Final = "cifar10-8k"
"""8,192 training images (each moved once) and 2,000 of validation, which the search sees."""
REPORTED: Final = "cifar10-20k"
"""Its test split is dev5k, which no search sees."""

RUNTIMES: Final = ("onnxruntime-current", "litert")

TRAINING: Final[dict[str, Any]] = {
    "kind": "train",
    "budget": {"steps": 64},
    "batch_size": 128,
    "optimizer": {"lr": 0.02},
    "ingredients": [{"kind": "distill", "teacher": "fixed"}],
}
"""One pass over the images, taught by the uncompressed network; in bfloat16."""

_PARTS: Final[dict[str, Any]] = {
    "fp32": {},
    "fp16": {},
    "int8": {},
    "int8-dynamic": {"weights": {"bits": 8}, "activations": {"mode": "dynamic"}},
    "int8-weights": {"weights": {"bits": 8}, "activations": None},
    "int4-weights": {"weights": {"bits": 4}, "activations": None},
    "int4-weights-mse": {"weights": {"bits": 4, "scale": "mse"}, "activations": None},
}
OBSERVERS: Final = ("minmax", "percentile", "entropy", "mse")


def _only(*formats: str) -> tuple[dict[str, tuple[Value, ...]], ...]:
    return ({"format": tuple(name for name in _PARTS if name not in formats)},)


def _precisions(name: str) -> tuple[Precision, ...]:
    """Return what the target computes; its dynamic int8 is of matrix products alone in onnxruntime (``dynamic_does_not_help``)."""
    target = get_target(name)
    return tuple(item for item in target.precisions if target.runtime != "onnxruntime" or item != "int8-dynamic")


SPACE: Final = SearchSpace(
    axes=(
        IntegerAxis(name="blocks", description="Residual blocks removed, of 9.", low=0, high=4, step=2),
        FloatAxis(name="channels", description="Share of the channels removed.", low=0.0, high=0.75, step=0.25),
        CategoricalAxis(
            name="format",
            description="Number format of the file.",
            choices=tuple(Choice(value=name, means=parts) for name, parts in _PARTS.items()),
        ),
        CategoricalAxis(
            name="observer",
            description="How int8 finds the ranges of activations; nothing to the other formats.",
            choices=tuple(Choice(value=name) for name in OBSERVERS),
        ),
        CategoricalAxis(name="target", choices=tuple(Choice(value=name) for name in RUNTIMES)),
    ),
    passes=(
        PassTemplate(spec={"kind": "remove_blocks", "n_blocks": {"$axis": "blocks"}}, unless=({"blocks": (0,)},)),
        PassTemplate(
            spec={"kind": "structured_prune", "amount": {"$axis": "channels"}}, unless=({"channels": (0.0,)},)
        ),
        PassTemplate(spec=TRAINING, unless=({"blocks": (0,), "channels": (0.0,)},)),
        PassTemplate(
            spec={"kind": "quantize", "calibration": {"observer": {"$axis": "observer"}}}, unless=_only("int8")
        ),
        PassTemplate(
            spec={
                "kind": "quantize",
                "weights": {"$axis": "format", "$part": "weights"},
                "activations": {"$axis": "format", "$part": "activations"},
            },
            unless=_only(*(name for name, parts in _PARTS.items() if parts)),
        ),
        PassTemplate(spec={"kind": "cast"}, unless=_only("fp16")),
    ),
    targets=tuple(TargetChoice(name=name, precisions=_precisions(name)) for name in RUNTIMES),
)
"""672 points; the 216 different recipes among them that a runtime takes are the grid."""

OBJECTIVES: Final = (
    Objective(metric="accuracy"),
    Objective(metric="size_bytes"),
    Objective(metric="latency_p50_ratio"),
)
"""Framed by the uncompressed file's own figures, before the search. The reference of the ratio is that file in onnxruntime."""
