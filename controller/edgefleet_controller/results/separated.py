"""Which points nothing beats, where only figures whose intervals do not overlap count as different; pure.

One point dominates another if at least one of its figures is better beyond the intervals, and none is worse beyond them.
Overlapping figures count as equal. The relation has no cycles of two or three. static/js/front.js holds the same rule for
what a person changes on the page; a browser test compares the two.
"""

from collections.abc import Sequence

Span = tuple[float, float]
"""(low, high) of a figure, turned so that less is better."""


def dominates(first: Sequence[Span], second: Sequence[Span]) -> bool:
    """Whether the first point, as spans (n_figures,), dominates the second."""
    is_better = False
    for (low, high), (other_low, other_high) in zip(first, second, strict=True):
        if low > other_high:
            return False
        is_better = is_better or high < other_low
    return is_better


def find_separated_front(points: Sequence[Sequence[Span]], reliable: Sequence[bool]) -> list[bool]:
    """For each point whether nothing dominates it; one that is not reliable dominates only its like.

    Points are compared with the most promising first, so that dominated ones are done early.
    """
    order = sorted(range(len(points)), key=lambda index: sum(low for low, _ in points[index]))
    return [
        not any(
            dominates(points[other], points[index])
            for other in order
            if other != index and (reliable[other] or not reliable[index])
        )
        for index in range(len(points))
    ]
