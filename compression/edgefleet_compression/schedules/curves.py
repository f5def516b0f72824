"""Curves: the value at a progress p in 0..1 between a first and a last one. All reach both ends exactly."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from edgefleet_compression.passes.specs import ScheduleName

Curve = Callable[[float, float, float], float]
"""(first, last, progress) -> value."""

N_STEPS: Final = 5
"""Jumps of the step curve."""

STEEPNESS: Final = 10.0
"""Exponent of the sigmoid curve at its ends: before scaling it runs from 0.7 % to 99.3 %."""


def one_shot(_first: float, last: float, _progress: float) -> float:
    """Return the last value at once."""
    return last


def linear(first: float, last: float, progress: float) -> float:
    """Return first + (last - first) p."""
    return first + (last - first) * progress


def cubic(first: float, last: float, progress: float) -> float:
    """Return last + (first - last) (1 - p)^3: fast at first, slow at the end (Zhu & Gupta 2017, arXiv:1710.01878, eq. 1)."""
    return last + (first - last) * (1.0 - progress) ** 3


def exponential(first: float, last: float, progress: float) -> float:
    """Return the sparsity whose density 1 - s falls by the same factor all the time (Tanaka et al. 2020, arXiv:2006.05467)."""
    if progress >= 1.0:
        return last  # 1 - (1 - s) is not always s
    return 1.0 - math.pow(1.0 - first, 1.0 - progress) * math.pow(1.0 - last, progress)


def sigmoid(first: float, last: float, progress: float) -> float:
    """Return the logistic curve, slow at both ends, scaled so that it meets them."""

    def logistic(x: float) -> float:
        return 1.0 / (1.0 + math.exp(-STEEPNESS * (x - 0.5)))

    share = (logistic(progress) - logistic(0.0)) / (logistic(1.0) - logistic(0.0))
    return first + (last - first) * share


def step(first: float, last: float, progress: float) -> float:
    """Return a staircase of N_STEPS equal jumps; the first comes at once, the last at the end."""
    n_jumps = 1 + math.floor(progress * (N_STEPS - 1) + 1e-9)
    return first + (last - first) * min(n_jumps, N_STEPS) / N_STEPS


CURVES: Final[Mapping[ScheduleName, Curve]] = MappingProxyType(
    {
        "one_shot": one_shot,
        "linear": linear,
        "cubic": cubic,
        "exponential": exponential,
        "sigmoid": sigmoid,
        "step": step,
    }
)
"""Curve by the name it has in a spec."""
