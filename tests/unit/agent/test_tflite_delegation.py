"""Which operators a delegate took, told from the interpreter's list."""

from typing import Any

from edgefleet_agent.runner.tflite_delegation import placement, taken_operators


def operator(name: str, inputs: "list[int]", outputs: "list[int]") -> "dict[str, Any]":
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


CHAIN = [
    operator("CONV_2D", [0, 10, 11], [1]),
    operator("CONV_2D", [1, 12, 13], [2]),
    operator("SQUEEZE", [2, 14], [3]),
    operator("SOFTMAX", [3], [4]),
]


def test_without_a_delegate_the_runtimes_own_kernels_run_all() -> None:
    assert placement(CHAIN) == {"shares": {"cpu": 1.0}, "n_operators": {"cpu": 4}, "basis": "operators"}


def test_operators_between_a_nodes_tensors_are_its_own() -> None:
    """The node takes the input with all weights and makes tensor 2; a second one takes 3 and makes 4."""
    delegated = [
        *CHAIN,
        operator("DELEGATE", [0, 10, 11, 12, 13], [2]),
        operator("DELEGATE", [3], [4]),
    ]
    assert taken_operators(delegated) == {0, 1, 3}
    assert placement(delegated)["n_operators"] == {"xnnpack": 3, "cpu": 1}
    assert placement(delegated)["shares"] == {"xnnpack": 0.75, "cpu": 0.25}


def test_branches_are_followed() -> None:
    graph = [
        operator("CONV_2D", [0, 5], [1]),
        operator("RELU", [1], [2]),
        operator("ADD", [1, 2], [3]),
        operator("DELEGATE", [0, 5], [3]),
    ]
    assert taken_operators(graph) == {0, 1, 2}


def test_a_file_without_operators_has_no_placement() -> None:
    assert "reason" in placement([])
