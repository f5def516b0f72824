"""The structure document of a torch candidate: all that is needed to rebuild its network around its weights. Torch-free.

It stands as JSON in the safetensors metadata under ``edgefleet.structure``.
"""

import json
import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.models.specs import parse_arguments
from edgefleet_compression.passes.specs import ActivationFormat, WeightFormat, format_precision, rounds_itself
from edgefleet_compression.precision import Precision
from edgefleet_compression.records import StepRecord

STRUCTURE_KEY: Final = "edgefleet.structure"
STRUCTURE_VERSION: Final = 1
MAX_STRUCTURE_BYTES: Final = 4 * 1024 * 1024

LayerName = Annotated[
    str, Field(min_length=1, max_length=256, pattern=re.compile(r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$"))
]
LayerBits = Literal[8, 4, 2, 1, "hybrid"]
Count = Annotated[int, Field(ge=1, le=65536)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerShape(_Part):
    """Channels of one layer."""

    kind: Literal["conv2d", "linear", "batchnorm2d"]
    n_in: Count
    n_out: Count
    groups: Count = 1


class InputSpec(_Part):
    """The network's input, without the batch. int64: token ids, 0 is padding."""

    name: str = Field("input", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)
    shape: tuple[Count, ...] = Field(min_length=1, max_length=5, description="[C, H, W] of an image, [T] of a text.")
    dtype: Literal["float32", "int64"] = "float32"
    n_values: Annotated[int, Field(ge=2, le=65536)] | None = Field(
        None, description="int64: token ids lie in 0..n_values - 1; null for float32."
    )

    @model_validator(mode="after")
    def _ids_are_bounded(self) -> "InputSpec":
        if (self.dtype == "int64") != (self.n_values is not None):
            raise PydanticCustomError("n_values_mismatch", "int64 inputs need n_values, float32 inputs have none.")
        return self


class TaskSpec(_Part):
    """What the network's output means."""

    kind: Literal["classification"] = "classification"
    n_classes: Count


class QuantizationPlan(_Part):
    """Formats of the integers. With static activations fake-quant is attached, and its scales are tensors of the file;
    otherwise the network is the float one, and the compiler carries the plan out.
    """

    version: Literal[1] = 1
    method: Literal["post_training", "quantization_aware"]
    weights: WeightFormat
    activations: ActivationFormat | None = Field(description="null: weights alone are integers.")
    refined: bool = Field(False, description="The network's integers are more than the nearest ones of float weights.")
    layer_bits: dict[LayerName, LayerBits] = Field(
        default_factory=dict, description="Layers whose bits are not those of weights; hybrid: they differ by channel."
    )
    points: tuple[str, ...] = Field((), description="Names of the activation fake-quant modules, in graph order.")

    @model_validator(mode="after")
    def _is_supported(self) -> "QuantizationPlan":
        if self.points and self.precision not in ("int8", "int4"):
            raise PydanticCustomError("points_unexpected", "Only static activations have fake-quant points.")
        return self

    @property
    def precision(self) -> Precision:
        """The number format of the file to be compiled."""
        return format_precision(self.weights, self.activations)

    @property
    def is_simulated(self) -> bool:
        """True if the network itself rounds as the file will: its weights' scales, and any points, are tensors of the file."""
        return self.refined or self.method == "quantization_aware" or rounds_itself(self.weights, self.activations)


class Structure(_Part):
    """Architecture, channel counts, quantization and history of a torch candidate."""

    version: Literal[1] = 1
    architecture: str = Field(max_length=64)
    arguments: dict[str, Any]
    layers: dict[LayerName, LayerShape] = Field(
        default_factory=dict, description="Channel counts that replace the architecture's own; empty: as instantiated."
    )
    removed: tuple[LayerName, ...] = Field(
        (),
        description="Blocks and layers of the architecture whose work is gone; of a projecting one the shortcut stays.",
    )
    factorised: dict[LayerName, Literal["channel", "spatial"]] = Field(
        default_factory=dict, description="Layers of the architecture that are two layers here, and in which form."
    )
    quantization: QuantizationPlan | None = None
    cast: Literal["float16"] | None = Field(
        None, description="Type of floats in the file to be compiled; the weights of this one stay float32."
    )
    masked: tuple[LayerName, ...] = Field((), description="Layers whose zero weights stay zero in later training.")
    input: InputSpec
    task: TaskSpec
    history: tuple[StepRecord, ...] = ()

    @model_validator(mode="after")
    def _classes_agree(self) -> "Structure":
        declared = self.arguments.get("n_classes", self.task.n_classes)
        if declared != self.task.n_classes:
            raise PydanticCustomError("classes_mismatch", "arguments.n_classes and task.n_classes differ.")
        if self.quantization is not None and self.cast is not None:
            raise PydanticCustomError("format_ambiguous", "A network is either quantized or cast, not both.")
        return self

    @property
    def precision(self) -> Precision:
        """The number format of the file to be compiled."""
        if self.quantization is not None:
            return self.quantization.precision
        return "fp16" if self.cast else "fp32"

    @property
    def is_simulated(self) -> bool:
        """True if the network itself rounds as the file will."""
        return self.quantization is not None and self.quantization.is_simulated

    @property
    def simulated(self) -> ActivationFormat | None:
        """The static activation format whose fake-quant is attached to the network; None for a float network."""
        plan = self.quantization
        return plan.activations if plan is not None and plan.precision in ("int8", "int4") else None


def parse_structure(text: str) -> Structure:
    """Return the structure of its JSON, or raise ModelFileInvalid (``structure_invalid``, ``architecture_*``)."""
    if len(text) > MAX_STRUCTURE_BYTES:
        raise ModelFileInvalid(
            f"The structure document is longer than {MAX_STRUCTURE_BYTES} bytes.", code="structure_invalid"
        )
    try:
        structure = Structure.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ModelFileInvalid(
            f"The structure document ({STRUCTURE_KEY}) is not valid at {where}: {first['msg']}.",
            code="structure_invalid",
        ) from error
    arguments = parse_arguments(structure.architecture, structure.arguments)
    found = (structure.input.dtype, structure.input.n_values)
    if not arguments.accepts(structure.input.shape) or found != (arguments.input_type, arguments.n_values):
        raise ModelFileInvalid(
            f"{structure.architecture} with these arguments takes {arguments.describe_input()}, not {structure.input.dtype} "
            f"of shape {list(structure.input.shape)}.",
            code="structure_invalid",
        )
    return structure


def format_structure(structure: Structure) -> str:
    """Return the structure as canonical JSON: the same structure gives the same bytes."""
    saved = structure.model_copy(update={"history": tuple(record.without_wall_time() for record in structure.history)})
    return json.dumps(saved.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
