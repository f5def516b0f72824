"""Which points nothing beats, where a point beats another only beyond their intervals; pure.

One point dominates another if no figure of it is worse, and at least one is better beyond the intervals. A figure that is a
little worse, though the intervals overlap, may well be worse: then neither dominates, and both stay. static/js/front.js
holds the same rule for what a person changes on the page; a browser test compares the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float, float]
"""(low, value, high) of a figure, turned so that less is better."""

N_PROMISING = 256
"""Points that all others are compared with first: of many points nearly all are beaten by one of these."""
CHUNK = 512
"""Points that are compared with all others at once: a few MB for 10,000 others."""

LOW, VALUE, HIGH = range(3)
Spans = NDArray[np.float64]


def dominates(first: Sequence[Span], second: Sequence[Span]) -> bool:
    """Whether the first point, as spans (n_figures,), dominates the second."""
    is_better = False
    for (_, value, high), (other_low, other_value, _) in zip(first, second, strict=True):
        if value > other_value:
            return False
        is_better = is_better or high < other_low
    return is_better


def find_separated_front(points: Sequence[Sequence[Span]], reliable: Sequence[bool]) -> list[bool]:
    """For each point whether nothing dominates it; one that is not reliable dominates only its like."""
    if not points:
        return []
    spans = np.asarray(points, dtype=np.float64)  # (n_points, n_figures, 3)
    is_reliable = np.asarray(reliable, dtype=bool)
    beaten = _dominated(spans, spans[is_reliable])
    others = np.flatnonzero(~is_reliable & ~beaten)
    beaten[others] = _dominated(spans[others], spans[~is_reliable])
    return [not one for one in beaten.tolist()]


def _dominated(points: Spans, by: Spans) -> NDArray[Any]:
    """For each point whether one of ``by`` dominates it; no point dominates itself."""
    if not len(points) or not len(by):
        return np.zeros(len(points), dtype=bool)
    if points.shape[1] == 2:
        along, across = _dominated_in_plane(points, by, 0, 1), _dominated_in_plane(points, by, 1, 0)
        return np.asarray(along | across)
    promising = by[np.argsort(by[:, :, VALUE].sum(axis=1))[:N_PROMISING]]
    beaten = _compared(points, promising)
    left = np.flatnonzero(~beaten)
    beaten[left] = _compared(points[left], by)
    return beaten


def _dominated_in_plane(points: Spans, by: Spans, first: int, second: int) -> NDArray[Any]:
    """Dominated by a point that is better in the first figure beyond the intervals, and not worse in the second.

    Of those whose first interval ends before the point's begins, the best second value decides: one pass over them in order.
    """
    order = np.argsort(by[:, first, HIGH])
    best = np.minimum.accumulate(by[order, second, VALUE])
    n_before = np.searchsorted(by[order, first, HIGH], points[:, first, LOW], side="left")
    best_before = np.where(n_before > 0, best[n_before - 1], np.inf)
    return np.asarray(best_before <= points[:, second, VALUE])


def _compared(points: Spans, by: Spans) -> NDArray[Any]:
    """The rule as it stands, each point with each of ``by``."""
    beaten = np.zeros(len(points), dtype=bool)
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK, np.newaxis]
        none_worse = np.all(by[:, :, VALUE] <= part[..., VALUE], axis=2)
        one_better = np.any(by[:, :, HIGH] < part[..., LOW], axis=2)
        beaten[start : start + CHUNK] = (none_worse & one_better).any(axis=1)
    return beaten
