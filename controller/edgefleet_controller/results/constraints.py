"""What the rows of a front have to keep, such as ``latency_p90_ms<=20``."""

import re
from collections.abc import Sequence

from edgefleet_controller.results.errors import InvalidConstraint
from edgefleet_controller.results.figures import FIGURES
from edgefleet_controller.results.gate import Limit
from edgefleet_controller.results.schemas import VariantRow

FORM = re.compile(r"\s*(?P<figure>[a-z0-9_]+)\s*(?P<relation><=|>=)\s*(?P<value>[^\s]+)\s*")


def parse_constraint(text: str) -> Limit:
    """The bound that ``FIGURE<=VALUE`` or ``FIGURE>=VALUE`` says; InvalidConstraint for anything else."""
    found = FORM.fullmatch(text)
    try:
        if found is None:
            raise ValueError("it is neither FIGURE<=VALUE nor FIGURE>=VALUE")
        return Limit(found["figure"], float(found["value"]), at_most=found["relation"] == "<=")
    except ValueError as err:
        raise InvalidConstraint(f"The constraint {text!r} cannot be used: {err}.") from err


def why_not_kept(row: VariantRow, limits: Sequence[Limit]) -> str | None:
    """The first bound that the row's estimate does not keep, in words; None where it keeps all of them."""
    for limit in limits:
        estimate = FIGURES[limit.figure].read(row)
        relation = "<=" if limit.at_most else ">="
        if estimate is None:
            return f"{limit.figure} {relation} {limit.value:g} cannot be told: no {FIGURES[limit.figure].label}"
        is_kept = estimate.value <= limit.value if limit.at_most else estimate.value >= limit.value
        if not is_kept:
            return f"{limit.figure} is {estimate.value:.6g}, not {relation} {limit.value:g}"
    return None
