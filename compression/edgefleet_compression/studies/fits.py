"""Laws of scaling: fitted on some points, judged on others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Law = Literal["power", "exponential"]


@dataclass(frozen=True)
class Fit:
    """y = factor * x^exponent (power), or y = factor * e^(exponent x) (exponential). aic: of log y, by least squares."""

    law: Law
    factor: float
    exponent: float
    aic: float
    n: int

    def at(self, x: float) -> float:
        """Return the fitted y."""
        return self.factor * (x**self.exponent if self.law == "power" else math.exp(self.exponent * x))


def fit_law(law: Law, x: Sequence[float], y: Sequence[float]) -> Fit:
    """Return the least-squares fit of log y; ValueError unless y (and x of a power law) are positive and x takes two values."""
    if len(x) != len(y) or len(set(x)) < 2 or min(y) <= 0 or (law == "power" and min(x) <= 0):
        raise ValueError("a law needs positive figures at two places at least")
    places = np.log(x) if law == "power" else np.asarray(x, float)
    logs = np.log(y)
    exponent, offset = (float(value) for value in np.polyfit(places, logs, 1))
    residual = float(((logs - exponent * places - offset) ** 2).sum())
    n = len(y)
    aic = n * math.log(max(residual, 1e-300) / n) + 2 * 3  # slope, offset and the spread
    return Fit(law, math.exp(offset), exponent, aic, n)


def held_out_r_squared(fit: Fit, fitted_y: Sequence[float], x: Sequence[float], y: Sequence[float]) -> float:
    """Return 1 - (squared errors of the fit) / (squared distances from the fitted points' mean), over held-out points.

    Below 0: the law predicts worse than a constant does. -inf where the held-out points all equal that mean.
    """
    mean = float(np.mean(fitted_y))
    total = sum((value - mean) ** 2 for value in y)
    errors = sum((value - fit.at(place)) ** 2 for place, value in zip(x, y, strict=True))
    return 1.0 - errors / total if total > 0 else -math.inf
