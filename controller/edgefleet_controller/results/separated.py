"""Which points nothing beats, where a point beats another only beyond their intervals; pure.

One point dominates another if no figure of it is worse, and at least one is better beyond the intervals. A figure that is a
little worse, though the intervals overlap, may well be worse: then neither dominates, and both stay. static/js/front.js
holds the same rule for what a person changes on the page; a browser test compares the two.
"""

from collections.abc import Sequence

Span = tuple[float, float, float]
"""(low, value, high) of a figure, turned so that less is better."""


def dominates(first: Sequence[Span], second: Sequence[Span]) -> bool:
    """Whether the first point, as spans (n_figures,), dominates the second."""
    is_better = False
    for (_, value, high), (other_low, other_value, _) in zip(first, second, strict=True):
        if value > other_value:
            return False
        is_better = is_better or high < other_low
    return is_better


def find_separated_front(points: Sequence[Sequence[Span]], reliable: Sequence[bool]) -> list[bool]:
    """For each point whether nothing dominates it; one that is not reliable dominates only its like.

    Points are compared with the most promising first, so that dominated ones are done early.
    """
    order = sorted(range(len(points)), key=lambda index: sum(value for _, value, _ in points[index]))
    return [
        not any(
            dominates(points[other], points[index])
            for other in order
            if other != index and (reliable[other] or not reliable[index])
        )
        for index in range(len(points))
    ]
