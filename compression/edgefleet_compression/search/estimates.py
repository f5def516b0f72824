"""A figure with its standard error, as far as dominance needs it."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Self

_NORMAL: Final = NormalDist()
NORMAL_95: Final = _NORMAL.inv_cdf(0.975)
"""Half width of a 95 % interval in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, both in the figure's unit; an error of 0 is a value known exactly, as bytes are."""

    value: float
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what could not be compared: a value that is no number, a negative error."""
        if not math.isfinite(self.value):
            raise ValueError(f"an estimate needs a finite value, got {self.value}")
        if not (math.isfinite(self.standard_error) and self.standard_error >= 0):
            raise ValueError(f"a standard error is finite and not negative, got {self.standard_error}")

    @classmethod
    def of_interval(cls, value: float, low: float, high: float, *, confidence: float = 0.95) -> Self:
        """Return the estimate whose normal interval at this confidence is as wide as [low, high].

        Raises ValueError for an interval that ends before it begins or a confidence outside (0, 1).
        """
        if not 0 < confidence < 1:
            raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
        if not low <= high:
            raise ValueError(f"an interval begins at its lower end, got [{low}, {high}]")
        return cls(value, (high - low) / (2 * _NORMAL.inv_cdf(0.5 + confidence / 2)))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        half = NORMAL_95 * self.standard_error
        return self.value - half, self.value + half

    def negated(self) -> "Estimate":
        """Return the estimate of the opposite, which is minimised where this is maximised."""
        return Estimate(-self.value, self.standard_error)


def probability_at_most(first: Estimate, second: Estimate) -> float:
    """Return the probability that the first quantity is at most the second; errors are independent and normal.

    Of two exact values it is 0 or 1, and equal ones are at most each other.
    """
    error = math.hypot(first.standard_error, second.standard_error)
    if error == 0:
        return 1.0 if first.value <= second.value else 0.0
    return _NORMAL.cdf((second.value - first.value) / error)


def ratio_of(numerator: Estimate, denominator: Estimate) -> Estimate:
    """Return the ratio of two independent quantities, its error propagated to first order; the denominator is not 0."""
    ratio = numerator.value / denominator.value
    error = math.hypot(numerator.standard_error, ratio * denominator.standard_error) / abs(denominator.value)
    return Estimate(ratio, error)
