"""What may be wrong with a front that is asked for.

InvalidRequest
├── UnknownAxis                  422 unknown_axis
└── ProvenanceMixed              422 provenance_mixed
"""

from edgefleet_controller.errors import InvalidRequest


class UnknownAxis(InvalidRequest):
    """The front has no such axis; the message lists the axes."""

    code = "unknown_axis"


class ProvenanceMixed(InvalidRequest):
    """Measured and other figures do not belong in one front; ask for one provenance."""

    code = "provenance_mixed"
