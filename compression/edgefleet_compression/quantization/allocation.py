"""Choose bits per layer: least harm under a budget, an integer program (Yao et al. 2021, HAWQ-V3, arXiv:2011.10680)."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.specs import BitAllocation, BitChoice
from edgefleet_compression.quantization.sensitivity import Harm

Costs = dict[str, dict[BitChoice, float]]

SCALE_BYTES: Final = 4
STORED_BITS: Final[Mapping[BitChoice, int]] = {8: 8, 4: 4, 2: 4}
"""Bits a weight takes in a file: there is no 2-bit tensor in the ONNX opset written here (21)."""


def stored_bytes(n_weights: int, n_channels: int, bits: BitChoice) -> int:
    """Return the bytes of a layer's integers and scales in a file."""
    return math.ceil(n_weights * STORED_BITS[bits] / 8) + SCALE_BYTES * n_channels


def costs_of(spec: BitAllocation, layers: Mapping[str, tuple[int, int]]) -> Costs:
    """Return layer -> bits -> cost in the budget's unit. layers: name -> (weights, output channels).

    Raises PassRefused ``table_incomplete`` where the table lacks a layer or a choice.
    """
    if spec.table is None:
        return {
            name: {bits: float(stored_bytes(*shape, bits)) for bits in spec.choices} for name, shape in layers.items()
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

    Raises PassRefused ``budget_impossible`` where even the cheapest choices exceed it.
    """
    refuse_impossible_budget(costs, budget)
    options = [(name, bits) for name, row in harm.items() for bits in row]
    values = np.array([harm[name][bits] for name, bits in options])
    cost = np.array([costs[name][bits] for name, bits in options])
    once = np.array([[float(name == other) for other, _ in options] for name in harm])
    # harms are tiny numbers: scaled to 1, the solver's tolerances do not swallow them
    solution = milp(
        values / max(float(values.max()), 1e-30),
        constraints=[LinearConstraint(once, 1.0, 1.0), LinearConstraint(cost[None, :], -np.inf, budget)],
        integrality=np.ones(len(options)),
        bounds=Bounds(0.0, 1.0),
        options={"mip_rel_gap": 0.0},
    )
    if solution.x is None:
        raise PassRefused(f"No choice of bits was found: {solution.message}", code="budget_impossible")
    return {name: bits for (name, bits), chosen in zip(options, solution.x, strict=True) if chosen > 0.5}
