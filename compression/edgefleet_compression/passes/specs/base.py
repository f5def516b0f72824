"""What all specifications share, and the names of the registries that they choose from."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

CriterionName = Literal["magnitude_l1", "magnitude_l2", "random"]
ScheduleName = Literal["one_shot", "cubic"]
TeacherName = Literal["fixed"]

SpecT = TypeVar("SpecT", bound="Spec")

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class Spec(BaseModel):
    """A frozen specification; unknown fields are refused, so that a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
