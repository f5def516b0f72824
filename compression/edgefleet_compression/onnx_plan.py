"""What an ONNX candidate asks its compiler for: a quantization or a cast, as JSON in the file's metadata. Torch-free.

It stands under ``edgefleet.plan``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.passes.specs import ActivationFormat, Spec, WeightFormat, format_precision
from edgefleet_compression.precision import Precision


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = Field(1, description="Version of this document.")


class PlanCalibration(Spec):
    """The samples a plan was made for."""

    observer: Literal["minmax"] = Field(
        "minmax", description="Smallest and largest value seen, by the compiler's tool."
    )
    n_samples: int = Field(256, ge=1, le=65536, description="Samples to observe.")
    source: Literal["train", "random"] = Field(description="train: the training split; random: standard-normal inputs.")
    seed: int = Field(ge=0, description="Seed of the choice of samples.")


class OnnxQuantization(_Plan):
    """Post-training quantization; ``calibration`` is there exactly where activations are static."""

    method: Literal["post_training"] = "post_training"
    weights: WeightFormat = Field(description="Format of the weights.")
    activations: ActivationFormat | None = Field(description="Format of the activations; null: weights alone.")
    calibration: PlanCalibration | None = Field(None, description="Samples and observer of static activations.")

    @model_validator(mode="after")
    def _calibrated_where_static(self) -> "OnnxQuantization":
        if (self.precision == "int8") != (self.calibration is not None):
            raise PydanticCustomError(
                "calibration_unexpected", "Static activations need a calibration, other formats have none."
            )
        return self

    @property
    def precision(self) -> Precision:
        """The number format of the file to be compiled."""
        return format_precision(self.weights, self.activations)


class OnnxCast(_Plan):
    """Floats of another type."""

    method: Literal["cast"] = "cast"
    dtype: Literal["float16"] = Field("float16", description="Type of weights and activations in the file.")

    @property
    def precision(self) -> Precision:
        """The number format of the file to be compiled."""
        return "fp16"


OnnxPlan = Annotated[OnnxQuantization | OnnxCast, Field(discriminator="method")]
_ADAPTER: Final[TypeAdapter[OnnxQuantization | OnnxCast]] = TypeAdapter(OnnxPlan)


def parse_plan(document: Mapping[str, Any]) -> OnnxQuantization | OnnxCast:
    """Return the plan of its JSON document; ModelFileInvalid ``plan_invalid`` if it is not one."""
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "plan"
        raise ModelFileInvalid(
            f"The candidate's plan is not valid at {where}: {first['msg']}.", code="plan_invalid"
        ) from error
