"""Which points nothing beats, when the figures have errors. All objectives are minimised here.

The probability of dominance follows Teich 2001 (Pareto-front exploration with uncertain objectives, EMO 2001, LNCS 1993),
with normal instead of uniform errors: a product over objectives, errors independent. Runs of one device share part of
their noise, so the true difference is better known than that: some points stay on the front that could be told apart.
"""

import math
from collections.abc import Sequence
from typing import Final

from edgefleet_compression.search.estimates import Estimate, probability_at_most

CONFIDENCE: Final = 0.95
Point = Sequence[Estimate]


def probability_of_dominance(first: Point, second: Point) -> float:
    """Return the probability that the first point is nowhere worse and somewhere better than the second; both (n_objectives,).

    Raises ValueError for points of different length.
    """
    pairs = list(zip(first, second, strict=True))
    if all(_is_same(own, other) for own, other in pairs):
        return 0.0
    return math.prod(probability_at_most(own, other) for own, other in pairs)


def _is_same(first: Estimate, second: Estimate) -> bool:
    return first.value == second.value and first.standard_error == second.standard_error == 0


def dominates(first: Point, second: Point, *, confidence: float = CONFIDENCE) -> bool:
    """Whether the first point dominates the second with at least this probability.

    With a confidence above a half the relation has no cycles: it implies that no estimate of the first is worse.
    """
    return probability_of_dominance(first, second) >= confidence


def find_front(points: Sequence[Point], *, confidence: float = CONFIDENCE) -> list[bool]:
    """For each point (n_objectives,) whether no other dominates it; the order of points makes no difference.

    Where every error is 0 this is the ordinary front. confidence: in (0.5, 1]. Raises ValueError.
    """
    if not 0.5 < confidence <= 1:
        raise ValueError(f"a confidence of dominance lies above 0.5 and is at most 1, got {confidence}")
    return [not any(dominates(other, point, confidence=confidence) for other in points) for point in points]
