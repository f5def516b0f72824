"""Choose bits per layer: least harm under a budget, an integer program (Yao et al. 2021, HAWQ-V3, arXiv:2011.10680)."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.specs import BitAllocation, BitChoice
from edgefleet_compression.quantization.sensitivity import Harm

Costs = dict[str, dict[BitChoice, float]]

UNITS: Final = 1e3
"""What the harm of the choice so far is set to for the solver, whose absolute gap is 1e-6 (HiGHS, mip_abs_gap)."""

SCALE_BYTES: Final = 4


def stored_bytes(n_weights: int, n_channels: int, bits: int) -> int:
    """Return the bytes of a layer's integers, of so many bits in the file, and of their scales."""
    return math.ceil(n_weights * bits / 8) + SCALE_BYTES * n_channels


def costs_of(spec: BitAllocation, layers: Mapping[str, tuple[int, int]]) -> Costs:
    """Return layer -> bits -> cost in the budget's unit. layers: name -> (weights, output channels).

    Raises PassRefused ``table_incomplete`` where the table lacks a layer or a choice.
    """
    if spec.table is None:
        return {
            name: {bits: float(stored_bytes(*shape, max(bits, spec.narrowest_stored))) for bits in spec.choices}
            for name, shape in layers.items()
        }
    lacking = sorted(
        f"{name}: {bits}" for name in layers for bits in spec.choices if str(bits) not in spec.table.get(name, {})
    )
    if lacking:
        raise PassRefused(
            f"The table of costs lacks {', '.join(lacking[:5])}: give every layer a cost at every choice of bits.",
            code="table_incomplete",
            detail={"lacking": lacking[:100]},
        )
    known = {name: {str(bits): cost for bits, cost in row.items()} for name, row in spec.table.items()}
    return {name: {bits: known[name][str(bits)] for bits in spec.choices} for name in layers}


def refuse_impossible_budget(costs: Costs, budget: float) -> None:
    """Raise PassRefused ``budget_impossible`` where even the cheapest choices exceed the budget."""
    least = sum(min(row.values()) for row in costs.values())
    if least > budget:
        raise PassRefused(
            f"The cheapest bits of all layers together cost {least:g}, more than the budget of {budget:g}: raise the budget, or "
            "prune first.",
            code="budget_impossible",
            detail={"least": least, "budget": budget},
        )


def choose_bits(harm: Harm, costs: Costs, budget: float) -> dict[str, BitChoice]:
    """Return layer -> bits with the least total harm whose total cost is within the budget.

    Harms may differ by many orders of magnitude (2 bits in the first layer beside 8 in the last), and the solver calls two
    totals equal that differ by less than 1e-6. So it is asked again with harms in units of what the choice so far does
    beyond the unavoidable, until nothing better comes. Raises PassRefused ``budget_impossible`` where even the cheapest
    choices exceed it.
    """
    refuse_impossible_budget(costs, budget)
    extra = {name: {bits: value - min(row.values()) for bits, value in row.items()} for name, row in harm.items()}
    best = {name: min(row, key=lambda bits: (row[bits], extra[name][bits])) for name, row in costs.items()}
    limit = budget
    while (unit := _total(extra, best)) > 0:
        found = _solve(extra, costs, limit, unit)
        if found is not None and (excess := _total(costs, found) - budget) > 0:
            limit -= 2 * excess  # the solver's budget is as vague as its harm
            continue
        if found is None or _total(extra, found) >= unit:
            break
        best = found
    return best


def _solve(harm: Harm, costs: Costs, budget: float, unit: float) -> dict[str, BitChoice] | None:
    """Return the solver's choice among those that do not harm more than ``unit`` in one layer; None where it finds none."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import, and few recipes solve such a program

    options = [(name, bits) for name, row in harm.items() for bits in row if row[bits] <= unit]
    values = np.array([harm[name][bits] for name, bits in options])
    cost = np.array([costs[name][bits] for name, bits in options])
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
    return {name: bits for (name, bits), chosen in zip(options, solution.x, strict=True) if chosen > 0.5}


def _total(table: Harm | Costs, bits: Mapping[str, BitChoice]) -> float:
    return math.fsum(table[name][chosen] for name, chosen in bits.items())
