"""Two results side by side: the ratio of each figure with its interval; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgefleet_compression.search.estimates import ratio_of
from edgefleet_controller.results.listing import ListedResult

FIGURES: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "latency_p50_ms": ("median latency, ms", False),
        "latency_p90_ms": ("90th percentile, ms", False),
        "latency_p99_ms": ("99th percentile, ms", False),
        "energy_mj": ("energy, mJ", False),
        "accuracy": ("accuracy", True),
        "size_bytes": ("file, bytes", False),
        "peak_memory_bytes": ("peak memory, bytes", False),
    }
)
"""Figure -> its name, and whether more is better."""


@dataclass(frozen=True)
class Contrast:
    """A figure of B over that of A. interval: 95 %; None where an error is not known. says: what that means."""

    figure: str
    a: float | None
    b: float | None
    ratio: float | None
    interval: tuple[float, float] | None
    says: str


def contrast(a: ListedResult, b: ListedResult) -> list[Contrast]:
    """Every figure of B over A."""
    return [_contrast(name, a, b) for name in FIGURES]


def _contrast(name: str, a: ListedResult, b: ListedResult) -> Contrast:
    label, more_is_better = FIGURES[name]
    first, second = a.estimate(name), b.estimate(name)
    if first is None or second is None or first.value == 0:
        missing = " and ".join(side for side, one in (("A", first), ("B", second)) if one is None)
        says = f"{missing} has none" if missing else "A is zero"
        return Contrast(label, getattr(a, name), getattr(b, name), None, None, says)
    ratio = ratio_of(second, first)
    is_exact = name == "size_bytes"
    interval = ratio.interval if ratio.standard_error > 0 or is_exact else None
    says = _says(ratio.value, interval, more_is_better)
    return Contrast(label, first.value, second.value, ratio.value, interval, says)


def _says(ratio: float, interval: tuple[float, float] | None, more_is_better: bool) -> str:
    if interval is None:
        return "no interval: nothing can be said for sure"
    low, high = interval
    if low <= 1 <= high and not low == high != 1:
        return "no difference beyond the intervals" if low != high else "equal"
    is_better = (ratio > 1) == more_is_better
    return "B is better" if is_better else "B is worse"
