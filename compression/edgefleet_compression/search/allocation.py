"""Per-layer choices over measured tables: bits or pruning shares, one program, least harm under a budget.

The program is that of mixed precision (``integer_program``; HAWQ-V3, Yao et al. 2021, arXiv:2011.10680); with latencies measured
on the board as costs it is hardware-aware, as in HAQ (Wang et al. 2019, arXiv:1811.08886) without its agent.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import SearchInvalid
from edgefleet_compression.integer_program import choose_options, total
from edgefleet_compression.passes.specs import BitAllocation, BitChoice, CriterionName, StructuredPrune
from edgefleet_compression.passes.specs.base import Spec

if TYPE_CHECKING:  # its package loads torch
    from edgefleet_compression.analysis.document import LayerAnalysis

OptionName = str
"""Bits ("8", "4", "2") or the share of a layer's channels that goes ("0", "0.25")."""

Costs = Mapping[str, Mapping[OptionName, float]]
BITS: Final = tuple(str(bits) for bits in get_args(BitChoice))


class LayerTable(Spec):
    """What every option of every layer costs on one board, and how much it harms the network."""

    metric: Literal["latency_ms", "energy_mj", "size_bytes"]
    costs: dict[str, dict[OptionName, float]] = Field(description="Layer -> option -> cost, as measured.")
    harm: dict[str, dict[OptionName, float]] = Field(description="Layer -> option -> harm, larger is worse.")

    @model_validator(mode="after")
    def _agree(self) -> "LayerTable":
        lacking = sorted(
            f"{layer}: {option}"
            for layer in {**self.costs, **self.harm}
            for option in {**self.costs.get(layer, {}), **self.harm.get(layer, {})}
            if option not in self.costs.get(layer, {}) or option not in self.harm.get(layer, {})
        )
        if lacking or not self.costs:
            raise PydanticCustomError(
                "table_incomplete",
                "Costs and harms need the same options of the same layers; lacking: {lacking}.",
                {"lacking": ", ".join(lacking[:5]) or "every layer"},
            )
        return self


class Allocation(Spec):
    """The option of every layer, with the sums of both columns."""

    options: dict[str, OptionName]
    cost: float
    harm: float
    budget: float
    protected: dict[str, str] = Field(default_factory=dict, description="Layer -> why it kept its mildest option.")


def allocate(table: LayerTable, budget: float, protected: Mapping[str, str] | None = None) -> Allocation:
    """Return the least harmful options whose costs fit the budget. protected: layer -> reason; such layers take their least
    harmful option. Raises PassRefused ``budget_impossible``, SearchInvalid ``layer_unknown``.
    """
    kept = dict(protected or {})
    unknown = sorted(set(kept) - set(table.costs))
    if unknown:
        raise SearchInvalid(f"The table has no layer {unknown[0]}, which is protected.", code="layer_unknown")
    harm = {layer: dict(row) for layer, row in table.harm.items()}
    for layer in kept:
        mildest = min(harm[layer], key=harm[layer].__getitem__)
        harm[layer] = {mildest: harm[layer][mildest]}
    costs = {layer: {option: table.costs[layer][option] for option in row} for layer, row in harm.items()}
    options = choose_options(harm, costs, budget)
    return Allocation(
        options=options, cost=total(costs, options), harm=total(harm, options), budget=budget, protected=kept
    )


def as_bit_allocation(
    table: LayerTable, budget: float, protected: Collection[str] = (), *, sensitivity: Literal["output_kl", "hessian"]
) -> BitAllocation:
    """Return the table as a ``quantize`` pass takes it, which estimates harms itself and solves the same program.

    Options that a protected layer must not have are priced beyond the budget. Raises SearchInvalid ``table_not_of_bits``.
    """
    odd = sorted({option for row in table.costs.values() for option in row} - set(BITS))
    if odd or table.metric == "size_bytes":
        raise SearchInvalid(
            "A quantize pass takes a table of latencies or energies at 8, 4 and 2 bits; sizes it computes itself.",
            code="table_not_of_bits",
            detail={"options": odd, "metric": table.metric},
        )
    beyond = 2 * budget + 1
    priced = {
        layer: {option: cost if layer not in protected or option == "8" else beyond for option, cost in row.items()}
        for layer, row in table.costs.items()
    }
    choices = tuple(int(option) for option in BITS if all(option in row for row in priced.values()))
    document = {"sensitivity": sensitivity, "choices": choices, "table": priced, table.metric: budget}
    return BitAllocation.model_validate(document)


def as_structured_prune(allocation: Allocation, *, criterion: CriterionName = "magnitude_l2") -> StructuredPrune:
    """Return the pass that prunes every layer by its own share; layers that the table lacks lose the least of the shares.

    Raises SearchInvalid ``table_not_of_shares`` for options that are no shares, or where no layer loses anything.
    """
    try:
        amounts = {layer: float(option) for layer, option in allocation.options.items()}
    except ValueError:
        amounts = {}
    pruned = [amount for amount in amounts.values() if amount > 0]
    if not pruned or max(pruned) >= 1:
        raise SearchInvalid(
            "A structured_prune pass takes shares below 1, at least one of them above 0.", code="table_not_of_shares"
        )
    return StructuredPrune(amount=min(pruned), amounts=amounts, criterion=criterion)


def harm_of_options(
    layers: "Sequence[LayerAnalysis]", baseline_loss: float, *, of: Literal["rounded", "pruned"]
) -> dict[str, dict[OptionName, float]]:
    """Return layer -> option -> what the option adds to the loss, by an analysis (``edgefleet model analyze``).

    of: rounded, by bits; pruned, by share, with 0 for a layer left as it is. What lowers the loss harms nothing.
    """
    found: dict[str, dict[OptionName, float]] = {}
    for layer in layers:
        effects = layer.rounded if of == "rounded" else layer.pruned
        if effects:
            whole = {} if of == "rounded" else {"0": 0.0}
            found[layer.name] = whole | {
                option: max(0.0, effect.loss - baseline_loss) for option, effect in effects.items()
            }
    return found
