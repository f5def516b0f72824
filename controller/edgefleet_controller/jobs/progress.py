"""How far a job is: the mean over its variants."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

VARIANT_SHARE: Mapping[str, float] = MappingProxyType(
    {
        "queued": 0.0,
        "compressing": 0.05,
        "compiling": 0.5,
        "dispatched": 0.6,
        "completed": 1.0,
        "failed": 1.0,
        "cancelled": 1.0,
    }
)
"""Share of a variant's way, by its state."""


def share_done(variant_states: Iterable[str]) -> float:
    """Share of a job that is done, 0 to 1, from the states of its variants."""
    shares = [VARIANT_SHARE[state] for state in variant_states]
    return sum(shares) / len(shares) if shares else 0.0
