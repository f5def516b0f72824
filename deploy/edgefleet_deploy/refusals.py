"""What can be refused when a job is submitted, before anything is compiled. Imports neither torch nor onnx.

Only what is certain from the facts of the model file is refused here; what needs a look at the network itself is
refused by the compiler, with codes of its own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgefleet_compression.precision import Precision
from edgefleet_deploy.boards import BOARD_MEMORY_BYTES, least_memory_bytes
from edgefleet_deploy.targets import Target
from edgefleet_deploy.tensorrt_operators import NEWEST_OPSET_BEFORE_10, unsupported_operators
from edgefleet_deploy.tensorrt_plans import PLANS

CONVOLUTION_NETS: Final = frozenset({"resnet", "mobilenet_v2"})
"""Architectures of the zoo whose weights are in convolutions, which int8-dynamic does not reach."""

TRANSFORMERS: Final = frozenset({"transformer"})
"""Architectures of the zoo with look-ups, batched products and Gelu, which an Edge TPU has none of."""

KNOWN_DTYPES: Final = frozenset({"float32", "float16", "int64", "int32", "int8", "uint8", "bool"})
"""Element types of inputs that some runtime of every kind takes or is converted to."""

MAX_RANK: Final[Mapping[str, int]] = {"tensorrt": 8, "coreml": 5, "edgetpu": 4, "litert": 8, "tflite-runtime": 8}
"""Runtime -> most dimensions of an input, the batch among them. TensorRT: nvinfer1::Dims::MAX_DIMS; Core ML: MLMultiArray in
ML programs; Edge TPU: three beside the batch (coral.ai/docs/edgetpu/models-intro); TFLite: most kernels take 8 at most."""


@dataclass(frozen=True)
class InputFacts:
    """One input: dimensions with None where free, the batch first; dtype as numpy names it."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class ModelSummary:
    """What is known of a model before it is compressed: facts of its file, and the precision its recipe ends in.

    operators: ONNX operator types of a person's own graph; empty for torch networks.
    """

    form: Literal["torch", "onnx"]
    precision: Precision
    inputs: tuple[InputFacts, ...]
    n_parameters: int
    output_elements: int = 0
    architecture: str | None = None
    opset: int | None = None
    operators: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Refusal:
    """Why a model cannot become an artifact of a target: a stable code, and a sentence with the way out."""

    code: str
    message: str


def summary_of(facts: Mapping[str, Any], precision: Precision) -> ModelSummary:
    """Return the summary of a model file's facts (edgefleet_compression.inspection.ModelFacts as JSON).

    precision: what the recipe makes of the model.
    """
    return ModelSummary(
        form="torch" if facts["format"] == "safetensors" else "onnx",
        precision=precision,
        inputs=tuple(InputFacts(item["name"], tuple(item["shape"]), item["dtype"]) for item in facts["inputs"]),
        n_parameters=int(facts["n_parameters"]),
        output_elements=sum(_elements(tuple(item["shape"])) for item in facts["outputs"]),
        architecture=facts.get("architecture"),
        opset=facts.get("opset"),
        operators=frozenset(facts.get("operators") or ()),
    )


def refusals(model: ModelSummary, target: Target) -> tuple[Refusal, ...]:
    """Return every certain reason why no artifact of this target can be made of the model; empty where none is known."""
    found = (check(model, target) for check in _CHECKS)
    return tuple(refusal for refusal in found if refusal is not None)


def refuse_board(target: Target, board: str) -> Refusal | None:
    """Return why an artifact of this target cannot run on a board of this kind, or None."""
    if not target.boards or board in target.boards:
        return None
    return Refusal(
        "board_not_for_target",
        f"target {target.name} is for {', '.join(target.boards)}, not for {board}: choose a target of that board",
    )


def refuse_memory(model: ModelSummary, board: str) -> Refusal | None:
    """Return ``model_too_large`` where the model cannot fit the largest variant of the board, or None."""
    memory_bytes = BOARD_MEMORY_BYTES.get(board)
    elements = sum(_elements(item.shape) for item in model.inputs) + model.output_elements
    needed_bytes = least_memory_bytes(model.n_parameters, model.precision, elements)
    if memory_bytes is None or needed_bytes <= memory_bytes:
        return None
    return Refusal(
        "model_too_large",
        f"weights, inputs and outputs alone take {needed_bytes / 2**30:.1f} GiB as {model.precision}, a {board} has at most "
        f"{memory_bytes / 2**30:.0f} GiB: prune the model, store fewer bits, or choose a larger board",
    )


def _elements(shape: tuple[int | None, ...]) -> int:
    return math.prod(1 if length is None else length for length in shape)


def _refuse_precision(model: ModelSummary, target: Target) -> Refusal | None:
    if model.precision in target.precisions:
        return None
    if model.precision == "int4":
        return Refusal(
            "precision_not_on_target",
            f"target {target.name} has no activations of 4 bits; onnxruntime-current rounds to them and computes in float: take "
            "that target, set activations.bits to 8, or activations to null for 4-bit weights",
        )
    return Refusal(
        "precision_not_on_target",
        f"target {target.name} takes {', '.join(target.precisions)}, the recipe makes {model.precision}: choose another "
        "recipe or target",
    )


def _refuse_form(model: ModelSummary, target: Target) -> Refusal | None:
    if model.form == "torch" or target.file_format == "onnx":
        return None
    return Refusal(
        "needs_torch_model",
        f"target {target.name} is converted from a torch network, not from an ONNX file: give the network as safetensors",
    )


def _refuse_shapes(model: ModelSummary, target: Target) -> Refusal | None:
    most = MAX_RANK.get(target.runtime)
    for item in model.inputs:
        if any(length is None for length in item.shape[1:]):
            return Refusal(
                "dynamic_shape",
                f"input {item.name!r} leaves a dimension beside the batch free; no target takes that: fix it with "
                "python -m onnxruntime.tools.make_dynamic_shape_fixed",
            )
        if most is not None and len(item.shape) > most:
            return Refusal(
                "rank_unsupported",
                f"input {item.name!r} has {len(item.shape)} dimensions, {target.runtime} takes {most} at most",
            )
    return None


def _refuse_dtype(model: ModelSummary, target: Target) -> Refusal | None:
    for item in model.inputs:
        if item.dtype not in KNOWN_DTYPES:
            return Refusal(
                "input_type_unsupported",
                f"input {item.name!r} is {item.dtype}, which target {target.name} cannot be fed: use float32, or int64 for "
                "token ids",
            )
    return None


def _refuse_operators(model: ModelSummary, target: Target) -> Refusal | None:
    plan = PLANS.get(target.name)
    if plan is not None:
        lacking = sorted(unsupported_operators(model.operators, before_10=plan.before_10))
        if lacking:
            return Refusal("operator_unsupported", f"TensorRT {plan.min_version} has no {', '.join(lacking)}")
    if target.runtime == "edgetpu" and model.architecture in TRANSFORMERS:
        return Refusal(
            "operator_unsupported",
            f"an Edge TPU has no look-ups, batched products and Gelu, which {model.architecture} begins with: choose litert",
        )
    return None


def _refuse_useless_format(model: ModelSummary, target: Target) -> Refusal | None:
    is_onnxruntime = target.runtime == "onnxruntime"
    if not is_onnxruntime or model.precision != "int8-dynamic" or model.architecture not in CONVOLUTION_NETS:
        return None
    return Refusal(
        "dynamic_does_not_help",
        f"int8-dynamic quantizes matrix products only under onnxruntime, and the weights of {model.architecture} are in "
        "convolutions: use the int8 recipe",
    )


def _refuse_opset(model: ModelSummary, target: Target) -> Refusal | None:
    plan = PLANS.get(target.name)
    needs_conversion = plan is not None and plan.before_10 and (model.opset or 0) > NEWEST_OPSET_BEFORE_10
    control_flow = sorted(model.operators & {"If", "Loop", "Scan"})
    if not needs_conversion or not control_flow:
        return None
    return Refusal(
        "opset_too_new",
        f"TensorRT 8.2 reads opsets up to {NEWEST_OPSET_BEFORE_10}, the model has {model.opset} and {', '.join(control_flow)} "
        f"in it, which is not converted: export it with opset {NEWEST_OPSET_BEFORE_10}",
    )


def _refuse_memory_of_boards(model: ModelSummary, target: Target) -> Refusal | None:
    """A target for some boards only is refused where the model fits none of them."""
    found = [refuse_memory(model, board) for board in target.boards]
    return found[0] if found and all(refusal is not None for refusal in found) else None


_CHECKS: Final[tuple[Callable[[ModelSummary, Target], Refusal | None], ...]] = (
    _refuse_precision,
    _refuse_form,
    _refuse_shapes,
    _refuse_dtype,
    _refuse_operators,
    _refuse_opset,
    _refuse_useless_format,
    _refuse_memory_of_boards,
)
