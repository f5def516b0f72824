"""Choose bits per layer: least harm under a budget, an integer program (Yao et al. 2021, HAWQ-V3, arXiv:2011.10680)."""

import math
from collections.abc import Mapping
from typing import Final

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.integer_program import choose_options
from edgefleet_compression.passes.specs import BitAllocation, BitChoice
from edgefleet_compression.quantization.sensitivity import Harm

Costs = dict[str, dict[BitChoice, float]]

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


def choose_bits(harm: Harm, costs: Costs, budget: float) -> dict[str, BitChoice]:
    """Return layer -> bits with the least total harm whose total cost is within the budget.

    Raises PassRefused ``budget_impossible`` where even the cheapest choices exceed it.
    """
    return choose_options(harm, costs, budget)
