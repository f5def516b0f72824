"""Pareto front of rows with two or more figures; pure.

Every figure is turned so that less is better, then one row dominates another if it is nowhere worse and somewhere
better. Rows with equal figures do not dominate each other, so all of them are on the front.
"""

from collections.abc import Sequence
from enum import StrEnum


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


def find_front(rows: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[bool]:
    """For each row (n_figures,) whether it is on the front; the order of rows makes no difference."""
    turned = [
        [-value if direction is Direction.MAXIMISE else value for value, direction in zip(row, directions, strict=True)]
        for row in rows
    ]
    return [not is_dominated(row, turned) for row in turned]
