"""One option for every layer, with the least total harm under a budget: an integer program. Torch-free."""

import math
from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

import numpy as np

from edgefleet_compression.errors import PassRefused

Option = TypeVar("Option", bound=Hashable)

UNITS: Final = 1e3
"""What the harm of the choice so far is set to for the solver, whose absolute gap is 1e-6 (HiGHS, mip_abs_gap)."""


def refuse_impossible_budget(costs: Mapping[str, Mapping[Option, float]], budget: float) -> None:
    """Raise PassRefused ``budget_impossible`` where even the cheapest options exceed the budget."""
    least = sum(min(row.values()) for row in costs.values())
    if least > budget:
        raise PassRefused(
            f"The cheapest options of all layers together cost {least:g}, more than the budget of {budget:g}: raise the budget, or "
            "prune first.",
            code="budget_impossible",
            detail={"least": least, "budget": budget},
        )


def choose_options(
    harm: Mapping[str, Mapping[Option, float]], costs: Mapping[str, Mapping[Option, float]], budget: float
) -> dict[str, Option]:
    """Return layer -> option with the least total harm whose total cost is within the budget. Both: layer -> option -> figure.

    Harms may differ by many orders of magnitude (2 bits in the first layer beside 8 in the last), and the solver calls two
    totals equal that differ by less than 1e-6. So it is asked again with harms in units of what the choice so far does
    beyond the unavoidable, until nothing better comes. Raises PassRefused ``budget_impossible`` where even the cheapest
    options exceed it.
    """
    refuse_impossible_budget(costs, budget)
    extra = {name: {option: value - min(row.values()) for option, value in row.items()} for name, row in harm.items()}
    best = {name: _cheapest(row, extra[name]) for name, row in costs.items()}
    limit = budget
    while (unit := total(extra, best)) > 0:
        found = _solve(extra, costs, limit, unit)
        if found is not None and (excess := total(costs, found) - budget) > 0:
            limit -= 2 * excess  # the solver's budget is as vague as its harm
            continue
        if found is None or total(extra, found) >= unit:
            break
        best = found
    return best


def total(table: Mapping[str, Mapping[Option, float]], chosen: Mapping[str, Option]) -> float:
    """Return the sum of the chosen options' figures."""
    return math.fsum(table[name][option] for name, option in chosen.items())


def _cheapest(costs: Mapping[Option, float], harm: Mapping[Option, float]) -> Option:
    return min(costs, key=lambda option: (costs[option], harm[option]))


def _solve(
    harm: Mapping[str, Mapping[Option, float]],
    costs: Mapping[str, Mapping[Option, float]],
    budget: float,
    unit: float,
) -> dict[str, Option] | None:
    """Return the solver's choice among those that do not harm more than ``unit`` in one layer; None where it finds none."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import, and few recipes solve such a program

    options = [(name, option) for name, row in harm.items() for option in row if row[option] <= unit]
    values = np.array([harm[name][option] for name, option in options])
    cost = np.array([costs[name][option] for name, option in options])
    once = np.array([[float(name == other) for other, _ in options] for name in harm])
    scale = float(cost.max())  # the solver's tolerance is absolute here too
    solution = milp(
        values * (UNITS / unit),
        constraints=[
            LinearConstraint(once, 1.0, 1.0),
            LinearConstraint(cost[None, :] / scale, -np.inf, budget / scale),
        ],
        integrality=np.ones(len(options)),
        bounds=Bounds(0.0, 1.0),
        options={"mip_rel_gap": 0.0},
    )
    if solution.x is None:
        return None
    return {name: option for (name, option), chosen in zip(options, solution.x, strict=True) if chosen > 0.5}
