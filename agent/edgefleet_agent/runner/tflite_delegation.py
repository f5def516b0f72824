"""Which operators of a TFLite file a delegate took, told from the interpreter's list of operators.

A delegate's node joins the list, and the operators that it replaced stay on it. They are those between the tensors that
the node makes and the tensors that it takes.
"""

from typing import Any, Dict, Sequence, Set

DELEGATED = "DELEGATE"
"""Name of a node that runs a part of the graph (schema.fbs, BuiltinOperator 51)."""


def placement(operators: "Sequence[Dict[str, Any]]") -> "Dict[str, Any]":
    """Share of the operators that XNNPACK ran and that the runtime's own kernels ran, as the report has it.

    operators: entries of ``Interpreter._get_ops_details()`` with op_name, inputs and outputs (numbers of tensors). There
    is no time per operator to be had from Python, so the shares are of operators.
    """
    own = [item for item in operators if item["op_name"] != DELEGATED]
    n_taken = len(taken_operators(operators))
    counts = {"xnnpack": n_taken, "cpu": len(own) - n_taken}
    if not own:
        return {"reason": "the file has no operators"}
    return {
        "shares": {name: count / float(len(own)) for name, count in counts.items() if count},
        "n_operators": {name: count for name, count in counts.items() if count},
        "basis": "operators",
    }


def taken_operators(operators: "Sequence[Dict[str, Any]]") -> "Set[int]":
    """Positions in the list of the operators that delegates took."""
    makers = {}  # type: Dict[int, int]
    for position, item in enumerate(operators):
        if item["op_name"] != DELEGATED:
            makers.update({int(tensor): position for tensor in item["outputs"]})
    taken = set()  # type: Set[int]
    for node in operators:
        if node["op_name"] == DELEGATED:
            taken |= _between(operators, makers, node)
    return taken


def _between(operators: "Sequence[Dict[str, Any]]", makers: "Dict[int, int]", node: "Dict[str, Any]") -> "Set[int]":
    """Operators on the way from the node's outputs back to its inputs."""
    known = {int(tensor) for tensor in node["inputs"]}
    open_tensors = [int(tensor) for tensor in node["outputs"]]
    found = set()  # type: Set[int]
    while open_tensors:
        tensor = open_tensors.pop()
        position = makers.get(tensor)
        if tensor in known or position is None or position in found:
            continue
        found.add(position)
        open_tensors.extend(int(value) for value in operators[position]["inputs"])
    return found
