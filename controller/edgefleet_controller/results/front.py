"""Pareto front of rows with two or more figures; pure.

Every figure is turned so that less is better, then one row dominates another if it is nowhere worse and somewhere
better. Rows with equal figures do not dominate each other, so all of them are on the front. A row that is not to be
relied on may be dominated by any row, but dominates only its like: a suspect figure pushes no valid one off the front.
"""

from collections.abc import Sequence
from enum import StrEnum

from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.pareto import dominates


class Direction(StrEnum):
    """What is wanted of a figure."""

    MINIMISE = "minimise"
    MAXIMISE = "maximise"


def is_dominated(figures: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether some other row is nowhere worse and somewhere better; all figures are minimised."""
    return any(
        all(other <= own for other, own in zip(row, figures, strict=True))
        and any(other < own for other, own in zip(row, figures, strict=True))
        for row in others
    )


def find_front(
    rows: Sequence[Sequence[float]], directions: Sequence[Direction], reliable: Sequence[bool]
) -> list[bool]:
    """For each row (n_figures,) whether it is on the front; the order of rows makes no difference."""
    turned = [
        [-value if direction is Direction.MAXIMISE else value for value, direction in zip(row, directions, strict=True)]
        for row in rows
    ]
    relied_on = [row for row, is_reliable in zip(turned, reliable, strict=True) if is_reliable]
    return [
        not is_dominated(row, relied_on if is_reliable else turned)
        for row, is_reliable in zip(turned, reliable, strict=True)
    ]


def find_probable_front(
    rows: Sequence[Sequence[Estimate]], directions: Sequence[Direction], reliable: Sequence[bool], *, confidence: float
) -> list[bool]:
    """For each row (n_figures,) whether no other one dominates it with this probability, in (0.5, 1).

    The same rule as ``find_front``, with the figures' errors: a difference inside them pushes no row off.
    """
    turned = [
        [
            item.negated() if direction is Direction.MAXIMISE else item
            for item, direction in zip(row, directions, strict=True)
        ]
        for row in rows
    ]
    relied_on = [row for row, is_reliable in zip(turned, reliable, strict=True) if is_reliable]
    return [
        not any(dominates(other, row, confidence=confidence) for other in (relied_on if is_reliable else turned))
        for row, is_reliable in zip(turned, reliable, strict=True)
    ]
