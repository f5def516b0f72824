"""Options of layers under a budget: against brute force, with protected layers, and as a pass takes them."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefleet_compression.analysis.document import Effect, LayerAnalysis
from edgefleet_compression.errors import PassRefused, SearchInvalid
from edgefleet_compression.search.allocation import (
    LayerTable,
    allocate,
    as_bit_allocation,
    as_structured_prune,
    harm_of_options,
)

COSTS = {"stem": {"8": 4.0, "4": 2.0}, "body": {"8": 8.0, "4": 4.0}, "head": {"8": 2.0, "4": 1.0}}
HARM = {"stem": {"8": 0.0, "4": 0.9}, "body": {"8": 0.0, "4": 0.1}, "head": {"8": 0.0, "4": 0.2}}
TABLE = LayerTable(metric="latency_ms", costs=COSTS, harm=HARM)

numbers = st.integers(0, 20).map(float)
tables = st.lists(st.tuples(st.tuples(numbers, numbers), st.tuples(numbers, numbers)), min_size=1, max_size=4)


def test_takes_from_the_layer_that_is_harmed_least() -> None:
    found = allocate(TABLE, 10.0)
    assert found.options == {"stem": "8", "body": "4", "head": "8"}
    assert found.cost == 10.0
    assert found.harm == pytest.approx(0.1)


def test_a_protected_layer_keeps_its_mildest_option() -> None:
    found = allocate(TABLE, 11.0, {"body": "shared by everything"})
    assert found.options == {"stem": "4", "body": "8", "head": "4"}
    assert found.protected == {"body": "shared by everything"}


@given(tables, st.integers(0, 60))
def test_nothing_within_the_budget_harms_less(rows: list[Any], budget: int) -> None:
    costs = {str(place): dict(zip("ab", row[0], strict=True)) for place, row in enumerate(rows)}
    harm = {str(place): dict(zip("ab", row[1], strict=True)) for place, row in enumerate(rows)}
    table = LayerTable(metric="energy_mj", costs=costs, harm=harm)
    possible = [
        sum(harm[name][option] for name, option in zip(costs, options, strict=True))
        for options in itertools.product("ab", repeat=len(costs))
        if sum(costs[name][option] for name, option in zip(costs, options, strict=True)) <= budget
    ]
    if not possible:
        with pytest.raises(PassRefused) as caught:
            allocate(table, budget)
        assert caught.value.code == "budget_impossible"
    else:
        found = allocate(table, budget)
        assert found.cost <= budget
        assert found.harm == pytest.approx(min(possible))


def test_columns_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="head: 4"):
        LayerTable(metric="latency_ms", costs=COSTS, harm={**HARM, "head": {"8": 0.0}})


def test_a_protected_layer_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(SearchInvalid) as caught:
        allocate(TABLE, 20.0, {"tail": "last"})
    assert caught.value.code == "layer_unknown"


def test_a_pass_takes_the_table_with_protected_layers_priced_out() -> None:
    allocation = as_bit_allocation(TABLE, 10.0, {"stem"}, sensitivity="output_kl")
    assert allocation.choices == (8, 4)
    assert allocation.latency_ms == 10.0
    assert allocation.table is not None
    assert allocation.table["stem"] == {"8": 4.0, "4": 21.0}
    assert allocation.table["body"] == COSTS["body"]


def test_a_table_of_pruning_shares_is_none_of_bits() -> None:
    table = LayerTable(metric="latency_ms", costs={"a": {"0": 1.0, "0.5": 0.6}}, harm={"a": {"0": 0.0, "0.5": 0.3}})
    with pytest.raises(SearchInvalid) as caught:
        as_bit_allocation(table, 1.0, sensitivity="hessian")
    assert caught.value.code == "table_not_of_bits"


def test_harms_are_what_an_option_adds_to_the_loss() -> None:
    def effect(loss: float) -> Effect:
        return Effect(loss=loss, accuracy=0.5)

    layer = LayerAnalysis(
        name="a",
        kind="conv2d",
        n_parameters=1,
        macs=1,
        macs_by_counter=1,
        activation_bytes=1,
        energy_rank_ratio=1.0,
        redundant_share=0.0,
        pruned={"0.5": effect(1.5)},
        rounded={"8": effect(0.9), "4": effect(1.25)},
    )
    assert harm_of_options([layer], 1.0, of="rounded") == {"a": {"8": 0.0, "4": 0.25}}
    assert harm_of_options([layer], 1.0, of="pruned") == {"a": {"0": 0.0, "0.5": 0.5}}


def test_shares_become_a_pass_with_amounts_by_layer() -> None:
    costs = {"a": {"0": 4.0, "0.5": 2.0}, "b": {"0": 4.0, "0.5": 2.0, "0.75": 1.0}}
    harm = {"a": {"0": 0.0, "0.5": 5.0}, "b": {"0": 0.0, "0.5": 0.1, "0.75": 3.0}}
    found = allocate(LayerTable(metric="latency_ms", costs=costs, harm=harm), 6.0)
    spec = as_structured_prune(found)
    assert spec.amounts == {"a": 0.0, "b": 0.5}
    with pytest.raises(SearchInvalid) as caught:
        as_structured_prune(allocate(LayerTable(metric="latency_ms", costs=costs, harm=harm), 8.0))
    assert caught.value.code == "table_not_of_shares"
    with pytest.raises(SearchInvalid):
        as_structured_prune(allocate(TABLE, 10.0))
