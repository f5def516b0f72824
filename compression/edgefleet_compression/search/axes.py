"""The axes of a search space: what one choice of a recipe may be. Torch-free."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec

Value = bool | int | float | str
Point = Mapping[str, Value]
"""Name of an axis -> its value; every axis of the space has one."""

AxisName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=48)]
TOLERANCE = 1e-9


class _Axis(Spec):
    name: AxisName = Field(description="How points and templates refer to it.")
    description: str = Field("", max_length=500, description="For a person.")


class Choice(Spec):
    """One value of a categorical axis."""

    value: Value = Field(description="What points and tables say.")
    means: Any = Field(
        None,
        description="JSON that takes its place in a template; left out: the value itself; null: nothing stands there, and a pass is "
        "left out.",
    )

    @model_validator(mode="before")
    @classmethod
    def _means_itself(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "means" not in given and "value" in given:
            return {**given, "means": given["value"]}
        return given


class CategoricalAxis(_Axis):
    """Named choices without an order."""

    kind: Literal["categorical"] = "categorical"
    choices: tuple[Choice, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _differ(self) -> "CategoricalAxis":
        values = [(type(choice.value), choice.value) for choice in self.choices]
        if len(set(values)) != len(values):
            raise PydanticCustomError("axis_empty", "The choices of a categorical axis must differ from each other.")
        return self

    @property
    def values(self) -> tuple[Value, ...]:
        """All values, in the order given."""
        return tuple(choice.value for choice in self.choices)

    def accepts(self, value: Value) -> bool:
        """Return True for one of the choices; 1 is not true."""
        return any(type(value) is type(own) and value == own for own in self.values)

    def meaning(self, value: Value) -> Any:
        """Return what the value means in a template."""
        return next(choice.means for choice in self.choices if choice.value == value)

    def position(self, value: Value) -> float:
        """Return the index of the choice over the last one's, in [0, 1]."""
        return self.values.index(value) / max(1, len(self.values) - 1)


class IntegerAxis(_Axis):
    """Whole numbers from low to high."""

    kind: Literal["integer"] = "integer"
    low: int
    high: int
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _has_values(self) -> "IntegerAxis":
        if self.low > self.high:
            raise PydanticCustomError("axis_empty", "An axis begins at its lower end: low is above high.")
        return self

    @property
    def values(self) -> tuple[int, ...]:
        """All values, ascending."""
        return tuple(range(self.low, self.high + 1, self.step))

    def accepts(self, value: Value) -> bool:
        """Return True for a whole number of the axis."""
        return type(value) is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def meaning(self, value: Value) -> Any:
        """Return the value."""
        return value

    def position(self, value: Value) -> float:
        """Return where between low and high it lies, in [0, 1]."""
        return (float(value) - self.low) / max(1, self.high - self.low)


class FloatAxis(_Axis):
    """Numbers from low to high: in steps, or any, or any on a logarithmic scale."""

    kind: Literal["float"] = "float"
    low: float
    high: float
    step: float | None = Field(None, gt=0.0, description="null: any number between; such an axis has no grid.")
    log: bool = Field(False, description="Search on a logarithmic scale; not with a step.")

    @model_validator(mode="after")
    def _has_values(self) -> "FloatAxis":
        if self.low > self.high:
            raise PydanticCustomError("axis_empty", "An axis begins at its lower end: low is above high.")
        if self.log and (self.step is not None or self.low <= 0):
            raise PydanticCustomError("axis_empty", "A logarithmic axis lies above 0 and has no step.")
        return self

    @property
    def values(self) -> tuple[float, ...]:
        """All values, ascending; () of an axis without a step."""
        if self.step is None:
            return (self.low,) if self.low == self.high else ()
        count = math.floor((self.high - self.low) / self.step + TOLERANCE) + 1
        return tuple(round(self.low + index * self.step, 12) for index in range(count))

    def accepts(self, value: Value) -> bool:
        """Return True for a number of the axis, whole or not."""
        if isinstance(value, bool | str) or not math.isfinite(value):
            return False
        if self.step is None:
            return self.low <= value <= self.high
        return any(abs(value - own) <= TOLERANCE for own in self.values)

    def meaning(self, value: Value) -> Any:
        """Return the value."""
        return float(value)

    def position(self, value: Value) -> float:
        """Return where between low and high it lies, on the axis's own scale, in [0, 1]."""
        if self.low == self.high:
            return 0.0
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)


Axis = Annotated[CategoricalAxis | IntegerAxis | FloatAxis, Field(discriminator="kind")]


def same_value(axis: Axis, value: Value) -> Value:
    """Return the axis's own spelling of a value that it accepts: 0.30000000001 is 0.3, 1 is 1.0."""
    if not isinstance(axis, FloatAxis):
        return value
    if axis.step is None:
        return float(value)
    return min(axis.values, key=lambda own: abs(own - float(value)))
