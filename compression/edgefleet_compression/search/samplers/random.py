"""Uniform draws: the control that every search has to beat."""

from collections.abc import Iterator

import numpy as np

from edgefleet_compression.search.axes import Axis, FloatAxis, Point, Value
from edgefleet_compression.search.samplers.base import Situation
from edgefleet_compression.search.space import grid, is_enumerable


def draw_random(situation: Situation) -> Iterator[Point]:
    """Draw every recipe with the same chance; where there are too many to list, every value of every axis."""
    rng = np.random.default_rng(situation.seed)
    if is_enumerable(situation.space):
        plans = grid(situation.space)
        for place in rng.permutation(len(plans)):
            yield plans[place].point
    while True:
        yield {axis.name: random_value(axis, rng) for axis in situation.space.axes}


def random_value(axis: Axis, rng: np.random.Generator) -> Value:
    """Return a value of the axis, each as likely; of one without steps, uniform on its own scale."""
    if axis.values:
        return axis.values[int(rng.integers(len(axis.values)))]
    assert isinstance(axis, FloatAxis)
    share = float(rng.random())
    if axis.log:
        return float(axis.low * (axis.high / axis.low) ** share)
    return float(axis.low + share * (axis.high - axis.low))
