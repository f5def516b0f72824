"""Latency of one inference: per operator the longer of computing and moving data, and an overhead. Pure."""

from edgefleet_agent.simulate.operators import Kind, Operator, OperatorTable, Precision
from edgefleet_agent.simulate.parameters import Board, Roofline

OPERATIONS_PER_MAC = 2


def latency_ms(table: OperatorTable, board: Board, *, batch: int = 1) -> float:
    """Latency of one inference of ``batch`` samples in ms, undisturbed and warm.

    Raises ValueError where the board cannot compute the table's precision.
    """
    roofline = board.roofline_of(table.precision)
    if roofline is None:
        raise ValueError("this board computes no {}".format(table.precision.value))
    operators_s = sum(operator_s(one, table.precision, roofline, batch) for one in table.operators)
    return board.fixed_ms.value + (operators_s + spill_s(table, board)) * 1e3


def operator_s(operator: Operator, precision: Precision, roofline: Roofline, batch: int = 1) -> float:
    """Seconds one operator takes: max(computing, moving) + overhead (measurement reference, section 12)."""
    moving_s = operator.weight_bytes / (
        roofline.weights_gb_s.value * 1e9
    ) + batch * operator.activation_elements * precision.element_bytes / (roofline.activations_gb_s.value * 1e9)
    computing_s = 0.0
    if operator.kind is not Kind.ELEMENTWISE:
        computing_s = OPERATIONS_PER_MAC * batch * operator.macs / roofline.rate_per_s(operator.kind)
    return max(computing_s, moving_s) + roofline.operator_us.value * 1e-6


def spill_s(table: OperatorTable, board: Board) -> float:
    """Seconds for the weights that an accelerator's own memory does not hold."""
    if board.cache_bytes is None or board.spill_gb_s is None:
        return 0.0
    return max(table.weight_bytes - board.cache_bytes.value, 0.0) / (board.spill_gb_s.value * 1e9)
