"""What a file of another tool says, and what a reader of such files is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgefleet_controller.imports.errors import ProfileRefused

MAX_SAMPLES = 5_000_000
"""More latencies than this are taken for a mistake: at 0.1 ms each they are eight minutes."""

LONGEST_S = 86_400.0
"""A longer inference is taken for a mistake in the unit."""

PERCENTILES = ("p50", "p90", "p99")


@dataclass(frozen=True)
class Profile:
    """Latencies of one model on one device, as another tool measured them.

    Either ``latency_ns`` (n_inferences,) int64, from which figures are computed as for one's own runs, or ``percentiles_ms``
    (p50, p90, p99 -> ms) with ``n`` where the file has no single latencies. Raises ProfileRefused for figures that cannot be.
    """

    tool: str
    latency_ns: NDArray[np.int64] | None = None
    percentiles_ms: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    is_invalid: bool = False
    """the tool itself calls the run invalid"""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """what else the file says, for people"""

    def __post_init__(self) -> None:
        """Refuse what is no latency, too many of them, and a profile without any."""
        if self.latency_ns is not None:
            _require_latencies(self.latency_ns)
            return
        values = [self.percentiles_ms[name] for name in PERCENTILES if name in self.percentiles_ms]
        if not values or self.n < 1:
            raise ProfileRefused(f"The file holds no latencies that {self.tool} would have measured.")
        if not all(0 < value <= LONGEST_S * 1e3 for value in values) or values != sorted(values):
            raise ProfileRefused("Percentiles lie between 0 and a day, and must not fall from p50 to p99.")


def _require_latencies(latency_ns: NDArray[np.int64]) -> None:
    if latency_ns.size == 0:
        raise ProfileRefused("The file holds no inference.")
    if latency_ns.size > MAX_SAMPLES:
        raise ProfileRefused(f"The file holds {latency_ns.size} inferences; at most {MAX_SAMPLES} are taken.")
    if int(latency_ns.min()) <= 0:
        raise ProfileRefused(f"Inference {int(latency_ns.argmin()) + 1} has a latency that is not positive.")


def to_ns(values: list[float], seconds: float) -> NDArray[np.int64]:
    """Latencies in whole nanoseconds from values in the given unit (in seconds); ProfileRefused for what is no number."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all() or (array.size and float(np.abs(array).max()) * seconds > LONGEST_S):
        raise ProfileRefused("A latency is no number, or longer than a day.")
    return np.rint(array * seconds * 1e9).astype(np.int64)


class ProfileFormat(Protocol):
    """A kind of file that a tool writes."""

    name: str
    """what people say on the command line, such as trtexec-times"""
    tool: str
    """the program that writes it"""
    how: str
    """how that program is told to write it"""

    def read(self, data: bytes) -> Profile:
        """The profile that the file holds; ProfileRefused, with the place, where it is not of this format."""
        ...
