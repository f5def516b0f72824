"""What all specifications share, and the names of the registries that they choose from."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

CriterionName = Literal[
    "magnitude_l1",
    "magnitude_l2",
    "taylor",
    "snip",
    "grasp",
    "synflow",
    "obd",
    "apoz",
    "mean_activation",
    "random",
]
ScheduleName = Literal["one_shot", "linear", "cubic", "exponential", "sigmoid", "step"]
TeacherName = Literal["fixed", "larger", "same_class", "ema", "best_validation", "ensemble"]

SpecT = TypeVar("SpecT", bound="Spec")

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class Spec(BaseModel):
    """A frozen specification; unknown fields are refused, so that a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeightedCriterion(Spec):
    """One criterion of several; each is scaled to mean score 1 before the weights apply."""

    criterion: CriterionName = Field(description="How a weight is scored.")
    weight: float = Field(gt=0.0, le=1000.0, description="Its share in the sum.")


SparsityStructure = Literal["weights", "kernels", "filters", "1:4", "2:4", "4:8"]
"""What becomes zero together; ``N:M``: of every M weights along the inputs N stay."""

CriterionChoice = CriterionName | Annotated[tuple[WeightedCriterion, ...], Field(min_length=2, max_length=8)]
"""One criterion by name, or a weighted sum of several."""


def require_n_of_m(structure: SparsityStructure, amount: float) -> None:
    """Raise PydanticCustomError ``amount_not_n_of_m`` unless the amount is the one that an N:M structure has."""
    n, _, m = structure.partition(":")
    if m and abs(amount - (1.0 - int(n) / int(m))) > 1e-9:
        raise PydanticCustomError(
            "amount_not_n_of_m",
            "Structure {structure} has amount {wanted}: set it, or choose another structure.",
            {"structure": structure, "wanted": 1.0 - int(n) / int(m)},
        )
