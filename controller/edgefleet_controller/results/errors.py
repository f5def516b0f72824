"""What may be wrong with a front that is asked for.

InvalidRequest
├── UnknownAxis                  422 unknown_axis
├── InvalidConstraint            422 invalid_constraint
└── ProvenanceMixed              422 provenance_mixed
"""

from edgefleet_controller.errors import InvalidRequest


class UnknownAxis(InvalidRequest):
    """The front has no such axis; the message lists the axes."""

    code = "unknown_axis"


class InvalidConstraint(InvalidRequest):
    """What rows have to keep is a figure, <= or >=, and a number, such as latency_p90_ms<=20."""

    code = "invalid_constraint"


class ProvenanceMixed(InvalidRequest):
    """Measured and other figures do not belong in one front; ask for one provenance."""

    code = "provenance_mixed"
