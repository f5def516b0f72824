"""What a sampler is given and what it returns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.space import SearchSpace


@dataclass(frozen=True)
class Told:
    """A finished point. costs: (n_objectives,), minimised; violations: relative, at or below 0 is kept."""

    point: Point
    costs: tuple[float, ...]
    violations: tuple[float, ...] = ()


@dataclass(frozen=True)
class Situation:
    """All that a sampler may know.

    told: in the order of the trials' numbers. pending: points under way, and those that failed, whose neighbourhood is left
    alone. n_trials: the whole budget.
    """

    space: SearchSpace
    n_objectives: int
    told: tuple[Told, ...]
    pending: tuple[Point, ...]
    n_trials: int
    seed: int


class Sampler(Protocol):
    """Draws points without end, the most wanted first; the same situation gives the same points."""

    def __call__(self, situation: Situation) -> Iterator[Point]:
        """Return the points; they fit the space's axes, and may be invalid as recipes or tried before."""
