"""NSGA-II (Deb et al. 2002, IEEE TEC 6(2)) by Optuna: the evolutionary control."""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.samplers.base import Situation
from edgefleet_compression.search.samplers.optuna_study import draw_from

POPULATION: Final = 50
"""Optuna's default, where the budget has room for several generations."""
GENERATIONS: Final = 5


def population_size(n_trials: int) -> int:
    """Return the population for a budget: at least GENERATIONS of them, of at least 4."""
    return max(4, min(POPULATION, n_trials // GENERATIONS))


def draw_nsga2(situation: Situation) -> Iterator[Point]:
    """Draw children of the best so far. Finished trials form generations in the order of their numbers."""
    from optuna.samplers import NSGAIISampler

    size = population_size(situation.n_trials)
    sampler: Any = NSGAIISampler(seed=situation.seed, population_size=size)
    key = f"{NSGAIISampler.__name__}:generation"  # optuna/samplers/_ga/_base.py, _GENERATION_KEY
    attributes = {place: {key: place // size} for place in range(len(situation.told))}
    return draw_from(sampler, situation, attributes=attributes)
